//! Auth strategy: user name and password against the accounts that the host stores.
//!
//! The host compares, at equal cost for known and unknown names; this decides which credentials are worth comparing.

use plugin_sdk::strategy::{Credential, Identity, IdentitySource, RequestFacts, StrategyInfo, Verdict};
use plugin_sdk::{Accounts, AuthStrategy, Fault, HostAccounts, PasswordCheck};

/// The strategy.
#[derive(Debug)]
pub struct Local;

/// Bytes a user name may have, as in `wit/auth`.
const USERNAME_BYTES_MAX: usize = 255;
/// Bytes a password may have, as in `wit/auth`.
const PASSWORD_BYTES_MAX: usize = 1024;
/// The only reason ever given: neither the caller nor the audit learns which half was wrong.
const BAD_PASSWORD: &str = "bad_password";

impl AuthStrategy for Local {
    fn describe() -> Result<StrategyInfo, Fault> {
        let credentials = vec!["password".to_owned()];
        Ok(StrategyInfo { credentials, request_headers: Vec::new(), extra: Vec::new() })
    }

    fn authenticate(credential: Credential, _facts: RequestFacts) -> Result<Verdict, Fault> {
        judge(&mut HostAccounts, credential)
    }
}

fn judge(accounts: &mut dyn Accounts, credential: Credential) -> Result<Verdict, Fault> {
    let (username, password) = match credential {
        Credential::Password(pair) => pair,
        Credential::Bearer(_) | Credential::Headers(_) | Credential::Other(_) => return Ok(Verdict::NotMine),
    };
    if !has_length(&username, USERNAME_BYTES_MAX) || !has_length(&password, PASSWORD_BYTES_MAX) {
        return Ok(Verdict::Denied(BAD_PASSWORD.to_owned()));
    }
    match accounts.check_password(&username, &password) {
        Ok(PasswordCheck::Matches) => Ok(Verdict::Granted(account(username))),
        Ok(PasswordCheck::Differs | PasswordCheck::Other(_)) => Ok(Verdict::Denied(BAD_PASSWORD.to_owned())),
        Err(busy) => Err(Fault::plugin("auth.busy", busy)),
    }
}

fn account(name: String) -> Identity {
    Identity { name, source: IdentitySource::Account, scopes: Vec::new(), expires_ms: None, extra: Vec::new() }
}

fn has_length(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max
}

plugin_sdk::export_auth_strategy!(Local);

#[cfg(test)]
mod tests {
    use super::*;

    /// Accounts that hold `ada` with the password `right`, and count how often they are asked.
    #[derive(Default)]
    struct Script {
        asked: usize,
        is_busy: bool,
        word: Option<PasswordCheck>,
    }

    impl Accounts for Script {
        fn check_password(&mut self, username: &str, password: &str) -> Result<PasswordCheck, String> {
            self.asked += 1;
            if self.is_busy {
                return Err("too busy to hash".to_owned());
            }
            let matches = (username, password) == ("ada", "right");
            Ok(self.word.clone().unwrap_or(if matches { PasswordCheck::Matches } else { PasswordCheck::Differs }))
        }
    }

    fn ask(accounts: &mut Script, username: &str, password: &str) -> Result<Verdict, Fault> {
        let credential = Credential::Password((username.to_owned(), password.to_owned()));
        judge(accounts, credential)
    }

    fn denied() -> Verdict {
        Verdict::Denied(BAD_PASSWORD.to_owned())
    }

    #[test]
    fn the_right_password_is_granted_under_the_accounts_name() {
        let verdict = ask(&mut Script::default(), "ada", "right").expect("a verdict");
        assert_eq!(verdict, Verdict::Granted(account("ada".to_owned())));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_name_are_the_same_refusal() {
        assert_eq!(ask(&mut Script::default(), "ada", "wrong").expect("a verdict"), denied());
        assert_eq!(ask(&mut Script::default(), "eve", "right").expect("a verdict"), denied());
    }

    #[test]
    fn empty_and_over_long_halves_are_refused_without_asking() {
        for (username, password) in
            [("", "right"), ("ada", ""), (&*"a".repeat(256), "right"), ("ada", &*"p".repeat(1025))]
        {
            let mut accounts = Script { word: Some(PasswordCheck::Matches), ..Script::default() };
            assert_eq!(ask(&mut accounts, username, password).expect("a verdict"), denied());
            assert_eq!(accounts.asked, 0);
        }
    }

    #[test]
    fn the_longest_halves_are_asked_about() {
        let mut accounts = Script::default();
        assert_eq!(ask(&mut accounts, &"a".repeat(255), &"p".repeat(1024)).expect("a verdict"), denied());
        assert_eq!(accounts.asked, 1);
    }

    #[test]
    fn a_credential_of_another_kind_is_left_to_others() {
        let other = Credential::Other("certificate".to_owned());
        assert_eq!(judge(&mut Script::default(), other).expect("a verdict"), Verdict::NotMine);
    }

    #[test]
    fn a_busy_host_is_a_fault_and_never_a_yes() {
        let mut accounts = Script { is_busy: true, ..Script::default() };
        assert_eq!(ask(&mut accounts, "ada", "right").expect_err("a fault").code, "auth.busy");
    }

    #[test]
    fn an_answer_of_a_later_version_is_a_refusal() {
        let mut accounts = Script { word: Some(PasswordCheck::Other("maybe".to_owned())), ..Script::default() };
        assert_eq!(ask(&mut accounts, "ada", "right").expect("a verdict"), denied());
    }
}
