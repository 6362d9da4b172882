/// A request as the input validators see it: who wants what, on which targets, with which fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRequest {
    /// What is asked, as `resource.action`, e.g. `process.start`, `session.login`.
    pub name: String,
    /// Who asks, if that is known already.
    pub principal: Option<String>,
    /// Everything the caller chose: path parts, query parameters and body members, each with where it stood.
    pub fields: Vec<Field>,
}

/// One value that the caller chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it stood: `/path/node`, `/query/bytes`, `/body/username`. A JSON pointer (RFC 6901).
    pub pointer: String,
    /// Its text. Passwords are never among the fields; only their length is, as `/body/password/length`.
    pub value: String,
}

/// A rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's pointer, or the empty text for the request as a whole.
    pub pointer: String,
    /// Which rule, stable, e.g. `too_long`.
    pub code: String,
    /// What is wrong and what would be right, in words.
    pub message: String,
}
