//! Tokens for Amazon MSK with IAM: a request to connect, signed for fifteen minutes with the credentials that AWS tools find on the
//! machine. MSK takes the signed address itself, in base64, as the token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::{Deserialize, Serialize};

use super::TokenError;

/// How long a token is good; MSK takes no longer one.
const LIFETIME: Duration = Duration::from_secs(900);

const SERVICE: &str = "kafka-cluster";
const AGENT: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// Whose credentials sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MskIam {
    pub region: String,
    /// A profile of the AWS configuration files; else what the environment says.
    pub profile: Option<String>,
    /// A role that is taken on.
    pub role: Option<String>,
    pub session: Option<String>,
}

impl MskIam {
    pub fn token(&self) -> Result<OAuthToken, TokenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let credentials = runtime.block_on(self.credentials())?;
        let now = SystemTime::now();
        let token = self.signed(&credentials, now)?;
        let ends = (now + LIFETIME).duration_since(UNIX_EPOCH)?.as_millis();
        Ok(OAuthToken { token, principal_name: "tidemill".into(), lifetime_ms: i64::try_from(ends)? })
    }

    async fn credentials(&self) -> Result<Credentials, TokenError> {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let region = aws_config::Region::new(self.region.clone());
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http).region(region);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        if let Some(role) = &self.role {
            let session = self.session.as_deref().unwrap_or("tidemill");
            let provider = AssumeRoleProvider::builder(role).session_name(session).configure(&config).build().await;
            return Ok(provider.provide_credentials().await?);
        }
        let provider = config.credentials_provider().ok_or("there are no AWS credentials")?;
        Ok(provider.provide_credentials().await?)
    }

    /// The address of the request to connect, signed at `now`, in base64.
    fn signed(&self, credentials: &Credentials, now: SystemTime) -> Result<String, TokenError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(LIFETIME);
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let mut address = format!("https://kafka.{}.amazonaws.com/?Action=kafka-cluster%3AConnect", self.region);
        let request = SignableRequest::new("GET", &address, std::iter::empty(), SignableBody::Bytes(&[]))?;
        let (instructions, _) = sign(request, &parameters)?.into_parts();
        for (name, value) in instructions.params() {
            address.push_str(&format!("&{name}={}", percent_encoded(value)));
        }
        // MSK wants to know who asks; that is not signed.
        address.push_str(&format!("&User-Agent={}", percent_encoded(AGENT)));
        Ok(BASE64_URL_SAFE_NO_PAD.encode(address))
    }
}

/// All but letters, digits, `-`, `_`, `.` and `~` as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// The region in the name of a broker: `b-1.name.id.c2.kafka.eu-west-1.amazonaws.com:9098`.
pub fn region_of(broker: &str) -> Option<&str> {
    let host = broker.split(':').next()?.trim();
    let mut parts = host.split('.');
    parts.find(|part| matches!(*part, "kafka" | "kafka-serverless"))?;
    let region = parts.next()?;
    (parts.next() == Some("amazonaws")).then_some(region)
}

#[cfg(test)]
mod tests {
    use ring::{digest, hmac};

    use super::*;

    #[test]
    fn regions_stand_in_the_names_of_brokers() {
        for (broker, region) in [
            ("b-1.name.abc123.c2.kafka.eu-west-1.amazonaws.com:9098", Some("eu-west-1")),
            ("boot-xyz.c1.kafka-serverless.us-east-1.amazonaws.com", Some("us-east-1")),
            ("kafka.example.com:9098", None),
            ("127.0.0.1:9092", None),
        ] {
            assert_eq!(region_of(broker), region);
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The signature as AWS publishes the steps of Signature Version 4 for requests that carry it in their address.
    fn signature(secret: &str, region: &str, query: &[(String, String)]) -> String {
        let find = |name: &str| &query.iter().find(|(key, _)| key == name).expect("a parameter").1;
        let mut signed: Vec<_> =
            query.iter().filter(|(key, _)| !["X-Amz-Signature", "User-Agent"].contains(&key.as_str())).collect();
        signed.sort();
        let pairs: Vec<String> = signed.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let host = format!("kafka.{region}.amazonaws.com");
        let canonical = format!("GET\n/\n{}\nhost:{host}\n\nhost\n{empty}", pairs.join("&"));
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let (time, day) = (find("X-Amz-Date"), &find("X-Amz-Date")[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/{SERVICE}/aws4_request\n{hashed}");
        let step = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let key = [day, region, SERVICE, "aws4_request"]
            .iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, text| step(&key, text));
        hex(&step(&key, &to_sign))
    }

    #[test]
    fn a_token_is_a_request_to_connect_signed_by_the_published_rules() {
        let source = MskIam { region: "eu-west-1".into(), ..MskIam::default() };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for session in [None, Some("a/session+token=".to_string())] {
            let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", session.clone(), None, "test");
            let token = source.signed(&credentials, now).expect("signed");
            let address = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).expect("base64")).expect("text");
            let query = address.strip_prefix("https://kafka.eu-west-1.amazonaws.com/?").expect("the address");
            let query: Vec<(String, String)> = query
                .split('&')
                .map(|pair| pair.split_once('=').map(|(key, value)| (key.into(), value.into())).expect("a pair"))
                .collect();
            let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            assert_eq!(value("Action"), Some("kafka-cluster%3AConnect"));
            assert_eq!(value("X-Amz-Algorithm"), Some("AWS4-HMAC-SHA256"));
            assert_eq!(value("X-Amz-Date"), Some("20231114T221320Z"));
            assert_eq!(value("X-Amz-Expires"), Some("900"));
            assert_eq!(value("X-Amz-SignedHeaders"), Some("host"));
            let scope = "AKIDEXAMPLE%2F20231114%2Feu-west-1%2Fkafka-cluster%2Faws4_request";
            assert_eq!(value("X-Amz-Credential"), Some(scope));
            assert_eq!(value("X-Amz-Security-Token").is_some(), session.is_some());
            assert!(value("User-Agent").is_some_and(|agent| agent.starts_with("tidemill%2F")));
            let expected = signature("wJalrXUtnFEMI/K7MDENG", "eu-west-1", &query);
            assert_eq!(value("X-Amz-Signature"), Some(expected.as_str()));
        }
    }
}
