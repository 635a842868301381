//! `jdbc:postgresql://host:port/database?sslmode=verify-full`.

use std::path::PathBuf;

/// PostgreSQL's own port.
const PORT_DEFAULT: u16 = 5432;

/// Where a database is and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Encrypted, and only to the server that a certificate names. `None`: authorities that browsers trust.
    Verified {
        authorities: Option<PathBuf>,
    },
}

impl Address {
    /// Errors say what is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let example = "write 'jdbc:postgresql://host:5432/database'";
        let wrong = |message: &str| Err((message.to_string(), example.to_string()));
        let Some(rest) = text.strip_prefix("jdbc:postgresql://").or_else(|| text.strip_prefix("postgresql://")) else {
            return wrong("'url' is no address of a PostgreSQL database, and there are no others");
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let Some((server, database)) = place.split_once('/') else { return wrong("'url' names no database") };
        if server.contains('@') {
            return Err(("'url' has a user in it".into(), "give 'username' and 'password' as options".into()));
        }
        if server.contains(',') {
            return wrong("'url' names several servers");
        }
        let (host, port) = split_port(server);
        let Some(port) = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok()) else {
            return wrong("'url' has a port that is no number");
        };
        if host.is_empty() || database.is_empty() || database.contains('/') {
            return wrong("'url' needs a host and a database");
        }
        let tls = tls_of(parameters)?;
        Ok(Self { host: host.to_string(), port, database: database.to_string(), tls })
    }
}

/// `[::1]:5432` and `host:5432`.
fn split_port(server: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port)))
}

fn tls_of(parameters: &str) -> Result<Tls, (String, String)> {
    let (mut verified, mut authorities) = (false, None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name, value) {
            ("sslmode", "disable") => verified = false,
            ("sslmode", "verify-full") => verified = true,
            ("sslmode", other) => {
                let message = format!("'url': sslmode={other} would not know who answers");
                return Err((message, "write sslmode=verify-full for an encrypted connection, or disable".into()));
            }
            ("sslrootcert", path) => authorities = Some(PathBuf::from(path)),
            (name, _) => {
                let message = format!("'url' has an unknown parameter '{name}'");
                return Err((message, "there are sslmode and sslrootcert".into()));
            }
        }
    }
    match (verified, authorities) {
        (true, authorities) => Ok(Tls::Verified { authorities }),
        (false, None) => Ok(Tls::Off),
        (false, Some(_)) => Err(("'url': sslrootcert without TLS".into(), "add sslmode=verify-full".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_driver_does() {
        let plain = Address::parse("jdbc:postgresql://db.example/shop").unwrap();
        let expected = Address { host: "db.example".into(), port: 5432, database: "shop".into(), tls: Tls::Off };
        assert_eq!(plain, expected);
        let full = Address::parse("jdbc:postgresql://[::1]:55/x?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
        let tls = Tls::Verified { authorities: Some("/ca.pem".into()) };
        assert_eq!(full, Address { host: "::1".into(), port: 55, database: "x".into(), tls });
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, said) in [
            ("jdbc:mysql://h/d", "no address of a PostgreSQL"),
            ("jdbc:postgresql://h", "names no database"),
            ("jdbc:postgresql://h:x/d", "no number"),
            ("jdbc:postgresql://u:p@h/d", "has a user in it"),
            ("jdbc:postgresql://a,b/d", "several servers"),
            ("jdbc:postgresql://h/d?sslmode=require", "would not know who answers"),
            ("jdbc:postgresql://h/d?sslrootcert=/ca", "without TLS"),
            ("jdbc:postgresql://h/d?x=1", "unknown parameter 'x'"),
        ] {
            let (message, _) = Address::parse(url).unwrap_err();
            assert!(message.contains(said), "{url}: {message}");
        }
    }
}
