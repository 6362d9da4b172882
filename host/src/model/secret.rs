use std::fmt;

/// A text that never shows itself: `Debug` prints stars, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself. Call it only where the bytes are needed, and keep no copy.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let credential =
            crate::model::Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
        assert_eq!(format!("{credential:?}"), r#"Password { username: "ann", password: *** }"#);
    }
}
