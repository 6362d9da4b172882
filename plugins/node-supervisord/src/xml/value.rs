use std::borrow::Cow;

/// A value of a reply. Texts are bytes, because logs are; they are read as text only where people read them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// `<int>`, `<i4>` or `<i8>`.
    Int(i64),
    /// `<boolean>`.
    Bool(bool),
    /// `<string>`, or nothing said about the type.
    Text(Cow<'a, [u8]>),
    /// `<array>`.
    Array(Vec<Value<'a>>),
    /// `<struct>`, members in the order sent.
    Struct(Vec<(Cow<'a, str>, Value<'a>)>),
    /// A type or content that supervisord never sends. Its bearer may be shown without it.
    Other,
}

impl<'a> Value<'a> {
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(_) | Self::Text(_) | Self::Array(_) | Self::Struct(_) | Self::Other => None,
        }
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) => Some(bytes),
            Self::Int(_) | Self::Bool(_) | Self::Array(_) | Self::Struct(_) | Self::Other => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<Cow<'_, str>> {
        self.as_bytes().map(String::from_utf8_lossy)
    }

    pub(crate) fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(values) => Some(values),
            Self::Int(_) | Self::Bool(_) | Self::Text(_) | Self::Struct(_) | Self::Other => None,
        }
    }

    /// A member of a struct; none if this is no struct or has no such member.
    pub(crate) fn member(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Self::Struct(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Int(_) | Self::Bool(_) | Self::Text(_) | Self::Array(_) | Self::Other => None,
        }
    }
}
