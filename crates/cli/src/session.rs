//! One command's connection to one node.

use client::{Client, ClientConfig, ClientError};
use model::Code;

use crate::environment::Environment;
use crate::report::{Refusal, refusal_of};
use crate::settings::Target;

/// A client of the node that the user means, and how it was found.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client.
    pub client: Client,
    looked_in: Vec<String>,
}

impl Session {
    /// Finds address and token; does not connect.
    ///
    /// # Errors
    /// Where configuration, address or token cannot be used.
    pub fn open(admin: Option<&str>, environment: &Environment) -> Result<Self, anyhow::Error> {
        let target = Target::resolve(admin, environment)?;
        let client = Client::new(ClientConfig::new(target.admin, target.token))?;
        Ok(Self {
            client,
            looked_in: target.looked_in,
        })
    }

    /// Adds to an error what only the session knows: why there was no token, or which one was used.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let is_refused = matches!(
            error.downcast_ref(),
            Some(ClientError::Problem(problem)) if problem.code == Code::Unauthorized
        );
        if !is_refused {
            return error;
        }
        let mut refusal: Refusal = refusal_of(&error);
        if self.looked_in.is_empty() {
            refusal.hints.push(format!(
                "the token of HOLM_TOKEN or of the configuration file is not the one of {}",
                self.client.url()
            ));
        } else {
            let tried = format!("looked for a token: {}", self.looked_in.join("; "));
            refusal.hints.push(tried);
            refusal.hints.push(
                "the node's token is in admin.token of its data directory: set HOLM_DATA_DIR or \
                 HOLM_TOKEN"
                    .to_owned(),
            );
        }
        refusal.into()
    }
}
