use super::Value;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;

/// Values inside values. A process list needs four.
const DEPTH_MAX: usize = 16;
/// Values in one reply. 10,000 processes have 150,000.
const VALUES_MAX: usize = 400_000;

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
        reader.config_mut().expand_empty_elements = true;
        let mut parser = Parser { reader, values: 0, is_bytewise: self.is_bytewise };
        match parser.element() {
            Ok(Some(root)) if root == "methodResponse" => {}
            Ok(_) | Err(_) => return Err(ReadError::NotRpc),
        }
        parser.reply()
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
        let kind = self.expect_element()?;
        if kind == "params" {
            let parameter = self.expect_element()?;
            if parameter != "param" {
                return Err(malformed(format!("`{parameter}` stands where `param` should")));
            }
        } else if kind != "fault" {
            return Err(malformed(format!("`{kind}` stands where `params` or `fault` should")));
        }
        let tag = self.expect_element()?;
        if tag != "value" {
            return Err(malformed(format!("`{tag}` stands where `value` should")));
        }
        let value = self.value(0)?;
        if kind == "params" {
            self.end()?;
        }
        self.end()?;
        self.end()?;
        Ok(if kind == "params" { Reply::Result(value) } else { Reply::Fault(value) })
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

    /// The next element that begins, or none if the one around it ends. Text between elements says nothing.
    fn element(&mut self) -> Result<Option<String>, ReadError> {
        loop {
            match self.token()? {
                Token::Open(start) => return Ok(Some(start.name().as_ref().to_owned())),
                Token::Close => return Ok(None),
                Token::Text(_) => {}
            }
        }
    }

    fn expect_element(&mut self) -> Result<String, ReadError> {
        self.element()?.ok_or_else(|| malformed("an element is missing".to_owned()))
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.element()? {
            None => Ok(()),
            Some(more) => Err(malformed(format!("`{more}` stands where nothing should"))),
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
        loop {
            match self.token()? {
                Token::Open(start) => {
                    let value = self.typed(&start, depth)?;
                    self.end()?;
                    return Ok(value);
                }
                Token::Close => return Ok(Value::Text(self.bytes(text))),
                Token::Text(piece) => append(&mut text, piece),
            }
        }
    }

    /// What an element inside a value holds, up to its closing tag.
    fn typed(&mut self, start: &BytesStart<'a>, depth: usize) -> Result<Value<'a>, ReadError> {
        let name = start.name();
        Ok(match name.as_ref() {
            "string" => {
                let text = self.text()?;
                Value::Text(self.bytes(text))
            }
            "int" | "i4" | "i8" => self.text()?.trim().parse().map_or(Value::Other, Value::Int),
            "boolean" => match self.text()?.trim() {
                "0" => Value::Bool(false),
                "1" => Value::Bool(true),
                _ => Value::Other,
            },
            "array" => Value::Array(self.array(depth)?),
            "struct" => Value::Struct(self.structure(depth)?),
            _ => {
                self.reader.read_to_end(name).map_err(|why| malformed(why.to_string()))?;
                Value::Other
            }
        })
    }

    /// The text of an element whose opening tag has been read, up to its closing tag.
    fn text(&mut self) -> Result<Cow<'a, str>, ReadError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.token()? {
                Token::Open(_) => return Err(malformed("an element stands inside a text".to_owned())),
                Token::Close => return Ok(text),
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
        let Some(data) = self.element()? else { return Ok(values) };
        if data != "data" {
            return Err(malformed(format!("`{data}` stands where `data` should")));
        }
        while let Some(tag) = self.element()? {
            if tag != "value" {
                return Err(malformed(format!("`{tag}` stands where `value` should")));
            }
            values.push(self.value(depth + 1)?);
        }
        self.end()?;
        Ok(values)
    }

    fn structure(&mut self, depth: usize) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, ReadError> {
        let mut members = Vec::new();
        while let Some(tag) = self.element()? {
            let (mut name, mut value) = (None, None);
            if tag != "member" {
                return Err(malformed(format!("`{tag}` stands where `member` should")));
            }
            while let Some(part) = self.element()? {
                match part.as_str() {
                    "name" => name = Some(self.text()?),
                    "value" => value = Some(self.value(depth + 1)?),
                    other => return Err(malformed(format!("`{other}` stands inside a member"))),
                }
            }
            let (Some(name), Some(value)) = (name, value) else {
                return Err(malformed("a member lacks its name or value".to_owned()));
            };
            members.push((name, value));
        }
        Ok(members)
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

fn malformed(why: String) -> ReadError {
    ReadError::Malformed(why)
}

#[cfg(test)]
mod tests;
