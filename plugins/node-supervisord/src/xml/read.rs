use super::Value;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;

/// Values inside values. A process list needs four.
const DEPTH_MAX: usize = 16;
/// Values in one reply. 10,000 processes have 150,000.
const VALUES_MAX: usize = 400_000;
/// Members of a process's struct, so that it is not grown step by step.
const MEMBERS_USUAL: usize = 14;

/// Why a reply cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It is something else: a web page, JSON, nothing at all.
    NotRpc,
    /// It begins as XML-RPC and is not.
    Malformed(String),
}

/// A reply's text.
///
/// supervisord puts the bytes of logs between its tags with `&`, `<` and `>` replaced and nothing else done, so control
/// characters and carriage returns come raw (S18). They are given back as they came: no line ends are normalised.
pub(crate) struct Document<'a> {
    text: Cow<'a, str>,
    /// The reply is not UTF-8 and every byte stands for itself, as in replies of old versions.
    is_bytewise: bool,
}

/// What a reply says.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply<'a> {
    /// The method's result.
    Result(Value<'a>),
    /// The method's fault, a struct with `faultCode` and `faultString`.
    Fault(Value<'a>),
}

impl<'a> Document<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self { text: Cow::Borrowed(text), is_bytewise: false },
            Err(_) => Self { text: Cow::Owned(body.iter().copied().map(char::from).collect()), is_bytewise: true },
        }
    }

    /// Reads the reply: a result or a fault, both as a value.
    pub(crate) fn read(&self) -> Result<Reply<'_>, ReadError> {
        let mut reader = Reader::from_str(&self.text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        // Line ends between elements are a quarter of all there is to read; inside texts they count, see `text`.
        config.trim_text_start = true;
        let mut parser = Parser { reader, values: 0, is_bytewise: self.is_bytewise };
        match parser.element() {
            Ok(Some(Tag::MethodResponse)) => parser.reply(),
            Ok(_) | Err(_) => Err(ReadError::NotRpc),
        }
    }
}

/// The elements of XML-RPC. Told apart without copying their names: a process has 57 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    MethodResponse,
    Params,
    Param,
    Fault,
    Value,
    String,
    Int,
    Boolean,
    Array,
    Data,
    Struct,
    Member,
    Name,
    Other,
}

impl Tag {
    fn of(start: &BytesStart<'_>) -> Self {
        match start.name().as_ref() {
            "value" => Self::Value,
            "member" => Self::Member,
            "name" => Self::Name,
            "string" => Self::String,
            "int" | "i4" | "i8" => Self::Int,
            "boolean" => Self::Boolean,
            "struct" => Self::Struct,
            "array" => Self::Array,
            "data" => Self::Data,
            "methodResponse" => Self::MethodResponse,
            "params" => Self::Params,
            "param" => Self::Param,
            "fault" => Self::Fault,
            _ => Self::Other,
        }
    }
}

/// What the reader acts upon.
enum Token<'a> {
    Open(BytesStart<'a>),
    Close,
    Text(Cow<'a, str>),
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    values: usize,
    is_bytewise: bool,
}

impl<'a> Parser<'a> {
    fn reply(&mut self) -> Result<Reply<'a>, ReadError> {
        let reply = match self.element()? {
            Some(Tag::Params) => {
                self.expect(Tag::Param)?;
                self.expect(Tag::Value)?;
                let value = self.value(0)?;
                self.end()?;
                Reply::Result(value)
            }
            Some(Tag::Fault) => {
                self.expect(Tag::Value)?;
                Reply::Fault(self.value(0)?)
            }
            _ => return Err(malformed("it has neither a result nor a fault".to_owned())),
        };
        self.end()?;
        self.end()?;
        Ok(reply)
    }

    /// The next thing that matters. A document type is refused: it could define entities.
    fn token(&mut self) -> Result<Token<'a>, ReadError> {
        loop {
            match self.reader.read_event().map_err(|why| malformed(why.to_string()))? {
                Event::Start(start) => return Ok(Token::Open(start)),
                Event::End(_) => return Ok(Token::Close),
                Event::Text(text) => return Ok(Token::Text(text.into_inner())),
                Event::CData(text) => return Ok(Token::Text(text.into_inner())),
                Event::GeneralRef(entity) => return Ok(Token::Text(Cow::Owned(resolve(&entity)?.to_string()))),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(malformed("it has a document type".to_owned())),
                Event::Eof => return Err(malformed("it ends too early".to_owned())),
                Event::Empty(_) => return Err(malformed("it is out of order".to_owned())),
            }
        }
    }

    /// Blanks at the start of a text are part of it; blanks between elements are nothing.
    fn keep_blanks(&mut self, keep: bool) {
        self.reader.config_mut().trim_text_start = !keep;
    }

    /// The next element that begins, or none if the one around it ends. Text between elements says nothing.
    fn element(&mut self) -> Result<Option<Tag>, ReadError> {
        loop {
            match self.token()? {
                Token::Open(start) => return Ok(Some(Tag::of(&start))),
                Token::Close => return Ok(None),
                Token::Text(_) => {}
            }
        }
    }

    fn expect(&mut self, wanted: Tag) -> Result<(), ReadError> {
        match self.element()? {
            Some(tag) if tag == wanted => Ok(()),
            other => Err(out_of_place(other)),
        }
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.element()? {
            None => Ok(()),
            other => Err(out_of_place(other)),
        }
    }

    /// A value whose opening tag has been read.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, ReadError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(malformed(format!("it holds more than {VALUES_MAX} values")));
        }
        if depth >= DEPTH_MAX {
            return Err(malformed(format!("its values are nested more than {DEPTH_MAX} deep")));
        }
        let mut text = Cow::Borrowed("");
        self.keep_blanks(true);
        loop {
            match self.token()? {
                Token::Open(start) => {
                    self.keep_blanks(false);
                    let value = self.typed(&start, depth)?;
                    self.end()?;
                    return Ok(value);
                }
                Token::Close => {
                    self.keep_blanks(false);
                    return Ok(Value::Text(self.bytes(text)));
                }
                Token::Text(piece) => append(&mut text, piece),
            }
        }
    }

    /// What an element inside a value holds, up to its closing tag.
    fn typed(&mut self, start: &BytesStart<'a>, depth: usize) -> Result<Value<'a>, ReadError> {
        Ok(match Tag::of(start) {
            Tag::String => {
                let text = self.text()?;
                Value::Text(self.bytes(text))
            }
            Tag::Int => self.text()?.trim().parse().map_or(Value::Other, Value::Int),
            Tag::Boolean => match self.text()?.trim() {
                "0" => Value::Bool(false),
                "1" => Value::Bool(true),
                _ => Value::Other,
            },
            Tag::Array => Value::Array(self.array(depth)?),
            Tag::Struct => Value::Struct(self.structure(depth)?),
            Tag::MethodResponse
            | Tag::Params
            | Tag::Param
            | Tag::Fault
            | Tag::Value
            | Tag::Data
            | Tag::Member
            | Tag::Name
            | Tag::Other => {
                self.reader.read_to_end(start.name()).map_err(|why| malformed(why.to_string()))?;
                Value::Other
            }
        })
    }

    /// The text of an element whose opening tag has been read, up to its closing tag.
    fn text(&mut self) -> Result<Cow<'a, str>, ReadError> {
        let mut text = Cow::Borrowed("");
        self.keep_blanks(true);
        loop {
            match self.token()? {
                Token::Open(_) => return Err(malformed("an element stands inside a text".to_owned())),
                Token::Close => {
                    self.keep_blanks(false);
                    return Ok(text);
                }
                Token::Text(piece) => append(&mut text, piece),
            }
        }
    }

    /// A text's bytes as they came.
    fn bytes(&self, text: Cow<'a, str>) -> Cow<'a, [u8]> {
        match text {
            text if self.is_bytewise => Cow::Owned(text.chars().filter_map(|c| u8::try_from(c).ok()).collect()),
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, ReadError> {
        let mut values = Vec::new();
        match self.element()? {
            Some(Tag::Data) => {}
            None => return Ok(values),
            other => return Err(out_of_place(other)),
        }
        loop {
            match self.element()? {
                Some(Tag::Value) => values.push(self.value(depth + 1)?),
                None => break,
                other => return Err(out_of_place(other)),
            }
        }
        self.end()?;
        Ok(values)
    }

    fn structure(&mut self, depth: usize) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, ReadError> {
        let mut members = Vec::with_capacity(MEMBERS_USUAL);
        loop {
            match self.element()? {
                Some(Tag::Member) => members.push(self.member(depth)?),
                None => return Ok(members),
                other => return Err(out_of_place(other)),
            }
        }
    }

    fn member(&mut self, depth: usize) -> Result<(Cow<'a, str>, Value<'a>), ReadError> {
        let (mut name, mut value) = (None, None);
        loop {
            match self.element()? {
                Some(Tag::Name) => name = Some(self.text()?),
                Some(Tag::Value) => value = Some(self.value(depth + 1)?),
                None => break,
                other => return Err(out_of_place(other)),
            }
        }
        name.zip(value).ok_or_else(|| malformed("a member lacks its name or value".to_owned()))
    }
}

/// Text comes in pieces, because quick-xml cuts it at every entity. One piece, the usual case, is not copied.
fn append<'a>(text: &mut Cow<'a, str>, piece: Cow<'a, str>) {
    if text.is_empty() {
        *text = piece;
    } else {
        text.to_mut().push_str(&piece);
    }
}

fn resolve(entity: &BytesRef<'_>) -> Result<char, ReadError> {
    if let Some(character) = entity.resolve_char_ref().map_err(|why| malformed(why.to_string()))? {
        return Ok(character);
    }
    match entity.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed("it uses an entity that XML does not define".to_owned())),
    }
}

fn out_of_place(tag: Option<Tag>) -> ReadError {
    malformed(
        tag.map_or_else(|| "an element is missing".to_owned(), |tag| format!("{tag:?} stands where it should not")),
    )
}

fn malformed(why: String) -> ReadError {
    ReadError::Malformed(why)
}

#[cfg(test)]
mod tests;
