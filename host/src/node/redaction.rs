//! Keeps a node's login out of the words that the node says. Pure.

use crate::config::NodeLogin;
use crate::model::{AdapterFault, Process, Secret};
use crate::plugin::AdapterError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Shorter passwords are not looked for: they stand in words by chance, and stars in their place would give them away.
const BYTES_MIN: usize = 6;

/// The forms of one login that are not shown.
pub(super) struct Redaction(Vec<Secret>);

impl Redaction {
    pub(super) fn new(login: Option<&NodeLogin>) -> Self {
        let Some(NodeLogin { username, password }) = login else { return Self(Vec::new()) };
        let password = password.reveal();
        let mut forms = vec![STANDARD_NO_PAD.encode(format!("{username}:{password}"))];
        if password.len() >= BYTES_MIN {
            forms.push(STANDARD_NO_PAD.encode(password));
            forms.push(password.to_owned());
        }
        Self(forms.into_iter().map(Secret::new).collect())
    }

    /// The same error without the login.
    pub(super) fn error(&self, error: AdapterError) -> AdapterError {
        match error {
            AdapterError::Fault(AdapterFault { kind, code, mut message }) => {
                self.text(&mut message);
                AdapterError::Fault(AdapterFault { kind, code, message })
            }
            failure @ AdapterError::Plugin(_) => failure,
        }
    }

    /// The same processes, with nothing of the login in what is said of them.
    pub(super) fn processes(&self, mut processes: Vec<Process>) -> Vec<Process> {
        processes.iter_mut().for_each(|process| self.text(&mut process.message));
        processes
    }

    /// Puts stars in its place.
    fn text(&self, text: &mut String) {
        for form in &self.0 {
            if text.contains(form.reveal()) {
                *text = text.replace(form.reveal(), "***");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FaultKind;

    fn told(username: &str, password: &str, text: &str) -> String {
        let login = NodeLogin { username: username.into(), password: Secret::new(password.into()) };
        let fault = AdapterFault { kind: FaultKind::Node, code: "node.refused".into(), message: text.into() };
        match Redaction::new(Some(&login)).error(fault.into()) {
            AdapterError::Fault(fault) => fault.message,
            AdapterError::Plugin(failure) => failure.to_string(),
        }
    }

    #[test]
    fn p17_what_a_node_says_never_holds_its_login() {
        let pair = base64::prelude::BASE64_STANDARD.encode("fleet:canary-password");
        assert_eq!(told("fleet", "canary-password", &format!("you sent Basic {pair}!")).matches("***").count(), 1);
        assert!(!told("fleet", "canary-password", &format!("you sent Basic {pair}!")).contains(&pair[..20]));
        assert_eq!(told("fleet", "canary-password", "canary-password canary-password"), "*** ***");
        assert_eq!(told("u", "a", "a bad day"), "a bad day", "too short to be told from words");
        let login = NodeLogin { username: "fleet".into(), password: Secret::new("canary-password".into()) };
        let mut plain = "nothing of it".to_owned();
        Redaction::new(Some(&login)).text(&mut plain);
        Redaction::new(None).text(&mut plain);
        assert_eq!(plain, "nothing of it");
    }
}
