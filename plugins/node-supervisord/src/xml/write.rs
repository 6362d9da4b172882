use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::io;

/// One call inside a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Namespace and method: `supervisor.getState`.
    pub(crate) method: &'static str,
    /// Its parameters.
    pub(crate) parameters: Vec<Parameter>,
}

/// A parameter of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameter {
    Text(String),
    /// Sent in base64: the other side makes a text of it.
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
}

impl Call {
    pub(crate) fn new(method: &'static str, parameters: Vec<Parameter>) -> Self {
        Self { method, parameters }
    }
}

/// The request that makes all calls, one after the other, as `system.multicall`.
pub(crate) fn multicall(calls: &[Call]) -> io::Result<Vec<u8>> {
    let mut xml = Request { writer: Writer::new(Vec::with_capacity(256 * (calls.len() + 1))) };
    xml.writer.write_event(Event::Decl(BytesDecl::new("1.0", None, None)))?;
    xml.within("methodCall", |xml| {
        xml.text("methodName", "system.multicall")?;
        xml.within("params", |xml| {
            xml.within("param", |xml| {
                xml.within("value", |xml| xml.array(|xml| calls.iter().try_for_each(|call| xml.call(call))))
            })
        })
    })?;
    Ok(xml.writer.into_inner())
}

struct Request {
    writer: Writer<Vec<u8>>,
}

impl Request {
    fn within(&mut self, tag: &str, inside: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.writer.write_event(Event::Start(BytesStart::new(tag)))?;
        inside(self)?;
        self.writer.write_event(Event::End(BytesEnd::new(tag)))
    }

    fn text(&mut self, tag: &str, text: &str) -> io::Result<()> {
        self.within(tag, |xml| xml.writer.write_event(Event::Text(BytesText::new(text))))
    }

    fn array(&mut self, inside: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.within("array", |xml| xml.within("data", inside))
    }

    fn member(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.within("member", |xml| {
            xml.text("name", name)?;
            xml.within("value", inside)
        })
    }

    fn call(&mut self, call: &Call) -> io::Result<()> {
        self.within("value", |xml| {
            xml.within("struct", |xml| {
                xml.member("methodName", |xml| xml.text("string", call.method))?;
                xml.member("params", |xml| {
                    xml.array(|xml| call.parameters.iter().try_for_each(|parameter| xml.parameter(parameter)))
                })
            })
        })
    }

    fn parameter(&mut self, parameter: &Parameter) -> io::Result<()> {
        self.within("value", |xml| match parameter {
            Parameter::Text(text) => xml.text("string", text),
            Parameter::Bytes(bytes) => xml.text("base64", &STANDARD.encode(bytes)),
            Parameter::Int(number) => xml.text("int", &number.to_string()),
            Parameter::Bool(flag) => xml.text("boolean", if *flag { "1" } else { "0" }),
        })
    }
}
