use serde_json::{Map, Value};

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `exp`, seconds since 1970.
    pub expires_s: Option<i64>,
    /// `nbf`, seconds since 1970.
    pub not_before_s: Option<i64>,
    /// `iat`, seconds since 1970.
    pub issued_s: Option<i64>,
    /// All others.
    others: Map<String, Value>,
}

impl Claims {
    /// The claim of that name, if it is a text. A name that starts with `/` is a JSON Pointer (RFC 6901), for claims
    /// inside of others: `/realm_access/roles`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(Value::as_str)
    }

    /// The texts of the claim of that name, which is one or an array of them; what else is in it is left out.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.value(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        }
    }

    /// Whether there is a claim of that name, of whatever kind.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.others.contains_key(name)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let Some(rest) = name.strip_prefix('/') else { return self.others.get(name) };
        let mut parts = rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
        let first = self.others.get(&parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            Value::Object(members) => members.get(&part),
            Value::Array(values) => values.get(part.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

impl From<jwt_compact::Claims<Map<String, Value>>> for Claims {
    fn from(claims: jwt_compact::Claims<Map<String, Value>>) -> Self {
        Self {
            expires_s: claims.expiration.map(|time| time.timestamp()),
            not_before_s: claims.not_before.map(|time| time.timestamp()),
            issued_s: claims.issued_at.map(|time| time.timestamp()),
            others: claims.custom,
        }
    }
}
