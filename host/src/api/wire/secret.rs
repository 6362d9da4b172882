//! Secrets that are sent to the server, and never back.

use crate::model::Secret;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A member that sets a secret, removes it (`null`) or leaves it as it is (left out). Shows itself to nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SecretField {
    /// Left out.
    #[default]
    Left,
    /// `null`
    Null,
    /// A text.
    Given(Secret),
}

impl SecretField {
    /// Whether nothing is to be written.
    #[must_use]
    pub const fn is_left(&self) -> bool {
        matches!(self, Self::Left)
    }
}

impl Serialize for SecretField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Left | Self::Null => serializer.serialize_none(),
            Self::Given(secret) => serializer.serialize_str(secret.reveal()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = SecretField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or null")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SecretField, E> {
                Ok(SecretField::Given(Secret::new(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<SecretField, E> {
                Ok(SecretField::Null)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::config::ManagedNodeRequest;

    #[test]
    fn a_password_is_left_removed_or_set_and_does_not_show() {
        let read = |member: &str| {
            let text = format!(r#"{{"url":"http://x:1"{member}}}"#);
            let request: ManagedNodeRequest = serde_json::from_str(&text).expect("legal");
            assert_eq!(serde_json::to_string(&request).expect("written"), text);
            request
        };
        assert_eq!(read("").password, SecretField::Left);
        assert_eq!(read(r#","password":null"#).password, SecretField::Null);
        let given = read(r#","password":"hunter2""#);
        assert!(matches!(&given.password, SecretField::Given(secret) if secret.reveal() == "hunter2"));
        assert!(!format!("{given:?}").contains("hunter2"));
        assert!(serde_json::from_str::<SecretField>("5").is_err());
    }
}
