//! How a table logs in: `sasl.*`, in the words of librdkafka or of the Java client.

use std::collections::BTreeMap;

use tidemill_engine::suggestion::closest;

use super::properties::at;
use super::{Checked, PROPERTIES};
use crate::kafka::tokens::{self, MskIam, Oidc, TokenSource, region_of};
use crate::options::OptionProblem;

const JAAS: &str = "sasl.jaas.config";
const MECHANISM: &str = "sasl.mechanism";

/// What users of Amazon MSK write in place of OAUTHBEARER.
const MSK_IAM: &str = "AWS_MSK_IAM";

/// Java classes that these mechanisms go by in tables written for Flink; what they do is built in.
const HANDLERS: [&str; 2] = ["sasl.client.callback.handler.class", "sasl.login.callback.handler.class"];

type Given<'a> = BTreeMap<&'a str, &'a str>;

/// What becomes of one setting; `None`: it does not concern logging in.
pub fn translated(key: &str, value: &str, given: &Given<'_>) -> Checked<Option<Vec<(String, String)>>> {
    let one = |key: &str, value: &str| Ok(Some(vec![(key.to_string(), value.to_string())]));
    match key {
        MECHANISM | "sasl.mechanisms" => {
            let name = mechanism(key, value)?;
            match token_source(name, given)? {
                None => one(MECHANISM, name),
                Some(source) => {
                    let setting = |key: &str, value: String| (key.to_string(), value);
                    let asked = [setting(MECHANISM, "OAUTHBEARER".into()), setting(tokens::CONFIG, source.setting())];
                    Ok(Some(asked.into()))
                }
            }
        }
        JAAS => jaas(value, given).map(Some),
        key if HANDLERS.contains(&key) && value.starts_with("software.amazon.msk.auth.iam.") => Ok(Some(Vec::new())),
        key if OIDC_KEYS.contains(&key) => Ok(Some(Vec::new())),
        key if key.starts_with("sasl.oauthbearer.") => {
            let problem = at(key, format!("'{PROPERTIES}{key}' is not known here"));
            Err(problem.hint(format!(
                "tokens are asked for with '{PROPERTIES}{}'",
                OIDC_KEYS.join(&format!("', '{PROPERTIES}"))
            )))
        }
        _ => Ok(None),
    }
}

/// Which ways to log in the client library was built with.
fn mechanism<'a>(key: &str, value: &'a str) -> Checked<&'a str> {
    const KNOWN: [&str; 5] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", MSK_IAM];
    if KNOWN.contains(&value) {
        return Ok(value);
    }
    let problem = at(key, format!("'{PROPERTIES}{key}' takes one of '{}', not '{value}'", KNOWN.join("', '")));
    Err(match closest(value, KNOWN) {
        Some(close) => problem.hint(format!("did you mean '{close}'?")),
        None => problem.hint("Kerberos (GSSAPI) is not built in; ask the cluster for a SCRAM user"),
    })
}

/// The login module that a JAAS line names, without its package.
fn module(line: &str) -> &str {
    let class = line.split_whitespace().next().unwrap_or_default();
    class.rsplit('.').next().unwrap_or_default()
}

/// A JAAS line names a user and a password, or whom to ask for a token.
fn jaas(line: &str, given: &Given<'_>) -> Checked<Vec<(String, String)>> {
    let setting = |parameter: &str, key: &str| jaas_parameter(line, parameter).map(|value| (key.to_string(), value));
    let wrong = |message: String, hint: &str| Err(at(JAAS, message).hint(hint));
    match module(line) {
        "PlainLoginModule" | "ScramLoginModule" => {
            let user = [setting("username", "sasl.username"), setting("password", "sasl.password")];
            match user.into_iter().collect::<Option<Vec<_>>>() {
                Some(user) => Ok(user),
                None => wrong(
                    format!("'{PROPERTIES}{JAAS}' names no username or no password"),
                    "write 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"...\" password=\"...\";'",
                ),
            }
        }
        "IAMLoginModule" | "OAuthBearerLoginModule" if given.contains_key(MECHANISM) => Ok(Vec::new()),
        "IAMLoginModule" | "OAuthBearerLoginModule" => wrong(
            format!("'{PROPERTIES}{JAAS}' asks for tokens, but '{PROPERTIES}{MECHANISM}' is not given"),
            "add 'properties.sasl.mechanism' = 'OAUTHBEARER', or 'AWS_MSK_IAM'",
        ),
        "Krb5LoginModule" => wrong(
            format!("'{PROPERTIES}{JAAS}' asks for Kerberos, which is not built in"),
            "ask the cluster for a SCRAM user",
        ),
        other => wrong(
            format!("'{PROPERTIES}{JAAS}' names the login module '{other}', which is not known here"),
            "known are PlainLoginModule, ScramLoginModule, OAuthBearerLoginModule and IAMLoginModule",
        ),
    }
}

/// The value of `name="..."` in a JAAS line.
fn jaas_parameter(line: &str, name: &str) -> Option<String> {
    let start = line.match_indices(name).find_map(|(at, _)| {
        let rest = line[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        line[..at].ends_with(char::is_whitespace).then_some(rest)
    })?;
    let Some(quote @ ('"' | '\'')) = start.chars().next() else {
        let end = start.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(start.len());
        return Some(start[..end].to_string());
    };
    let mut text = String::new();
    let mut characters = start[1..].chars();
    loop {
        match characters.next()? {
            end if end == quote => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

/// Settings that say whom to ask for a token, as librdkafka calls them.
const OIDC_KEYS: &[&str] = &[
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
];

/// Who gives the tokens that a mechanism asks for.
fn token_source(mechanism: &str, given: &Given<'_>) -> Checked<Option<TokenSource>> {
    let line = given.get(JAAS).copied().unwrap_or_default();
    let on_msk = mechanism == MSK_IAM || module(line) == "IAMLoginModule";
    match mechanism {
        "OAUTHBEARER" if !on_msk => oidc(line, given).map(TokenSource::Oidc).map(Some),
        "OAUTHBEARER" | MSK_IAM => msk_iam(line, given).map(TokenSource::MskIam).map(Some),
        _ => Ok(None),
    }
}

fn msk_iam(line: &str, given: &Given<'_>) -> Checked<MskIam> {
    let brokers = given.get("bootstrap.servers").copied().unwrap_or_default();
    let environment = || ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| std::env::var(name).ok());
    let region = brokers.split(',').find_map(region_of).map(Into::into).or_else(environment).ok_or_else(|| {
        at(MECHANISM, "the names of the brokers do not tell the AWS region, which tokens for them need".to_string())
            .hint("set the environment variable AWS_REGION")
    })?;
    let parameter = |name: &str| jaas_parameter(line, name);
    Ok(MskIam {
        region,
        profile: parameter("awsProfileName"),
        role: parameter("awsRoleArn"),
        session: parameter("awsRoleSessionName"),
    })
}

fn oidc(line: &str, given: &Given<'_>) -> Checked<Oidc> {
    let setting = |keys: &[&str], parameter: &str| {
        let of_key = keys.iter().find_map(|key| given.get(key).map(ToString::to_string));
        of_key.or_else(|| jaas_parameter(line, parameter))
    };
    let required = |keys: &[&str], parameter: &str| -> Checked<String> {
        setting(keys, parameter).ok_or_else(|| missing(keys[0]))
    };
    Ok(Oidc {
        endpoint: required(&OIDC_KEYS[..1], "tokenEndpointUrl")?,
        client_id: required(&[OIDC_KEYS[1], OIDC_KEYS[5]], "clientId")?,
        client_secret: required(&[OIDC_KEYS[2], OIDC_KEYS[6]], "clientSecret")?,
        scope: setting(&[OIDC_KEYS[3]], "scope"),
    })
}

fn missing(key: &str) -> OptionProblem {
    at(MECHANISM, format!("'{PROPERTIES}{MECHANISM}' = 'OAUTHBEARER' needs '{PROPERTIES}{key}'"))
        .hint(format!("add '{PROPERTIES}{key}' = '...'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IAM: &str =
        "software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=\"prod\" awsRoleArn=\"arn:x\";";

    fn setting(given: &[(&str, &str)]) -> Checked<Option<TokenSource>> {
        let given: Given<'_> = given.iter().copied().collect();
        let settings = translated(MECHANISM, given[MECHANISM], &given)?.expect("it concerns logging in");
        let config = settings.iter().find(|(key, _)| key == tokens::CONFIG);
        Ok(config.map(|(_, value)| serde_json::from_str(value).expect("our own text")))
    }

    #[test]
    fn msk_is_logged_in_to_as_flink_users_write_it() {
        let brokers = ("bootstrap.servers", "b-1.n.a.c2.kafka.eu-west-1.amazonaws.com:9098");
        let source = setting(&[brokers, (MECHANISM, MSK_IAM), (JAAS, IAM)]).expect("sound");
        let expected = MskIam {
            region: "eu-west-1".into(),
            profile: Some("prod".into()),
            role: Some("arn:x".into()),
            session: None,
        };
        assert_eq!(source, Some(TokenSource::MskIam(expected)));
        let given = [(MECHANISM, MSK_IAM)].into_iter().collect();
        let class = "software.amazon.msk.auth.iam.IAMClientCallbackHandler";
        assert_eq!(translated(HANDLERS[0], class, &given), Ok(Some(Vec::new())));
        assert_eq!(translated(HANDLERS[0], "com.example.Mine", &given), Ok(None));
    }

    #[test]
    fn tokens_of_a_provider_need_its_address_and_a_client() {
        let line = "a.OAuthBearerLoginModule required clientId=\"me\" clientSecret='s3cret' scope=\"a\";";
        let endpoint = (OIDC_KEYS[0], "https://id.example.com/token");
        let source = setting(&[(MECHANISM, "OAUTHBEARER"), (JAAS, line), endpoint]).expect("sound");
        let expected = Oidc {
            endpoint: endpoint.1.into(),
            client_id: "me".into(),
            client_secret: "s3cret".into(),
            scope: Some("a".into()),
        };
        assert_eq!(source, Some(TokenSource::Oidc(expected)));
        let problem = setting(&[(MECHANISM, "OAUTHBEARER"), (JAAS, line)]).expect_err("no address");
        assert_eq!(
            problem.to_string(),
            "'properties.sasl.mechanism' = 'OAUTHBEARER' needs 'properties.sasl.oauthbearer.token.endpoint.url' (add 'properties.sasl.oauthbearer.token.endpoint.url' = '...')"
        );
        assert_eq!(setting(&[(MECHANISM, "PLAIN")]), Ok(None));
    }
}
