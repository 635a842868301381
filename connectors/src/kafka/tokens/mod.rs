//! Where the brokers ask for a token (SASL OAUTHBEARER): who gives it, and how it comes to the client.
//!
//! The client library asks for a new token before one runs out, on the thread that serves it. The first one is handed over as soon as the
//! client is made: nobody serves it while the first answer of a broker is waited for.

use rdkafka::client::OAuthToken;
use rdkafka::types::RDKafka;
use serde::{Deserialize, Serialize};

use super::native;

mod msk_iam;
mod oidc;

pub use msk_iam::{MskIam, region_of};
pub use oidc::Oidc;

/// Who gives tokens. Travels to the client library and back as the setting [`CONFIG`], which it neither reads nor shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenSource {
    MskIam(MskIam),
    Oidc(Oidc),
}

/// The setting that holds a [`TokenSource`].
pub const CONFIG: &str = "sasl.oauthbearer.config";

/// Why there is no token; shows no secret.
pub type TokenError = Box<dyn std::error::Error>;

impl TokenSource {
    pub fn setting(&self) -> String {
        serde_json::to_string(self).expect("texts always have a form in JSON")
    }

    fn token(&self) -> Result<OAuthToken, TokenError> {
        match self {
            Self::MskIam(source) => source.token(),
            Self::Oidc(source) => source.token(),
        }
    }
}

/// A token as the setting says.
pub fn token(setting: Option<&str>) -> Result<OAuthToken, TokenError> {
    let source = setting.and_then(|setting| serde_json::from_str::<TokenSource>(setting).ok());
    source.ok_or("nobody gives tokens for 'sasl.mechanism' = 'OAUTHBEARER'")?.token()
}

/// Gives a client that was just made its first token, where it needs one. `client` is alive.
pub fn hand_over(client: *mut RDKafka, setting: Option<&str>) -> Result<(), TokenError> {
    match setting {
        None => Ok(()),
        Some(_) => native::set_token(client, &token(setting)?).map_err(Into::into),
    }
}
