use crate::bindings::common::omnivisor::host::accounts;

pub use accounts::PasswordCheck;

/// The accounts that the host stores. Password hashes never enter a plugin.
pub trait Accounts {
    /// Compares a password with the stored hash, at equal cost whether or not the account exists. Twice a call at most.
    ///
    /// # Errors
    /// The host's words when it is too busy to hash.
    fn check_password(&mut self, username: &str, password: &str) -> Result<PasswordCheck, String>;
}

/// The host's own accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostAccounts;

impl Accounts for HostAccounts {
    fn check_password(&mut self, username: &str, password: &str) -> Result<PasswordCheck, String> {
        accounts::check_password(username, password)
    }
}
