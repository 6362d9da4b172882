//! A scripted node for the adapter's own tests: answers from a list, or by a function of the calls.

use crate::xml::{Document, Reply, Value};
use plugin_sdk::{Exchange, Failure, Request, Response};

/// A call as the node reads it: the method and its parameters, texts and numbers alike as text.
pub(crate) type ReadCall = (String, Vec<String>);

/// A node whose replies are made by a function of the calls of a request.
pub(crate) struct Script<F> {
    answer: F,
    pub(crate) requests: usize,
}

impl<F: FnMut(Vec<ReadCall>) -> Result<Response, Failure>> Script<F> {
    pub(crate) fn new(answer: F) -> Self {
        Self { answer, requests: 0 }
    }
}

impl<F: FnMut(Vec<ReadCall>) -> Result<Response, Failure>> Exchange for Script<F> {
    fn send(&mut self, request: Request) -> Result<Response, Failure> {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/RPC2"));
        assert!(request.headers.contains(&("content-type".to_owned(), "text/xml".to_owned())));
        self.requests += 1;
        (self.answer)(calls(&request.body))
    }
}

/// A reply that holds these answers, each a `<value>`'s inside or a [`fault`].
pub(crate) fn answers(answers: &[String]) -> Result<Response, Failure> {
    let values: String = answers.iter().map(|answer| format!("<value>{answer}</value>\n")).collect();
    let body = format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n{values}</data></array></value>\n\
         </param>\n</params>\n</methodResponse>\n"
    );
    reply(200, body.as_bytes())
}

pub(crate) fn reply(status: u16, body: &[u8]) -> Result<Response, Failure> {
    Ok(Response { status, headers: Vec::new(), body: body.to_vec() })
}

pub(crate) fn fault(code: i64, text: &str) -> String {
    members(&[("faultCode", format!("<int>{code}</int>")), ("faultString", string(text))])
}

pub(crate) fn members(members: &[(&str, String)]) -> String {
    let members: String = members
        .iter()
        .map(|(name, value)| format!("<member>\n<name>{name}</name>\n<value>{value}</value>\n</member>\n"))
        .collect();
    format!("<struct>\n{members}</struct>")
}

pub(crate) fn string(text: &str) -> String {
    format!("<string>{}</string>", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// What `getProcessInfo` says of a process.
pub(crate) fn info(group: &str, name: &str, state: i64, statename: &str) -> String {
    let int = |number: i64| format!("<int>{number}</int>");
    members(&[
        ("name", string(name)),
        ("group", string(group)),
        ("start", int(1_000)),
        ("stop", int(900)),
        ("now", int(1_010)),
        ("state", int(state)),
        ("statename", string(statename)),
        ("spawnerr", string("")),
        ("exitstatus", int(0)),
        ("pid", int(42)),
        ("description", string("pid 42, uptime 0:00:10")),
    ])
}

fn calls(body: &[u8]) -> Vec<ReadCall> {
    // To the reader a text in base64 is no text; here it stands for itself.
    let body = String::from_utf8(body.to_vec()).expect("utf-8").replace("base64>", "string>");
    let value = body.split_once("<param>").expect("a parameter").1.rsplit_once("</param>").expect("its end").0;
    let body = format!("<methodResponse><params><param>{value}</param></params></methodResponse>");
    let document = Document::new(body.as_bytes());
    let Ok(Reply::Result(Value::Array(calls))) = document.read() else { panic!("no list of calls: {body}") };
    let text = |value: &Value<'_>| match value {
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Text(_) | Value::Array(_) | Value::Struct(_) | Value::Other => {
            value.as_text().expect("a text").into_owned()
        }
    };
    calls
        .iter()
        .map(|call| {
            let parameters = call.member("params").and_then(Value::as_array).expect("parameters");
            (text(call.member("methodName").expect("a method")), parameters.iter().map(text).collect())
        })
        .collect()
}
