use super::*;
use crate::xml::{Call, Parameter, multicall};
use proptest::prelude::*;

fn response(value: &str) -> String {
    format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>{value}</value>\n</param>\n</params>\n</methodResponse>\n"
    )
}

fn read(body: &[u8], check: impl FnOnce(Result<Reply<'_>, ReadError>)) {
    check(Document::new(body).read());
}

fn reads_as(value: &str, expected: &Value<'_>) {
    read(response(value).as_bytes(), |reply| assert_eq!(reply.expect(value), Reply::Result(expected.clone())));
}

fn text(bytes: &[u8]) -> Value<'_> {
    Value::Text(bytes.into())
}

#[test]
fn every_type_of_supervisord_is_read() {
    reads_as("<int>-7</int>", &Value::Int(-7));
    reads_as("<i4> 7\n</i4>", &Value::Int(7));
    reads_as("<boolean>1</boolean>", &Value::Bool(true));
    reads_as("<string>a b</string>", &text(b"a b"));
    reads_as("<string></string>", &text(b""));
    reads_as("<string/>", &text(b""));
    reads_as("untyped", &text(b"untyped"));
    reads_as("", &text(b""));
    reads_as(
        "<array><data>\n<value><int>1</int></value>\n<value>x</value></data></array>",
        &Value::Array(vec![Value::Int(1), text(b"x")]),
    );
    reads_as("<array><data/></array>", &Value::Array(vec![]));
    reads_as(
        "<struct>\n<member>\n<name>a</name>\n<value><int>1</int></value>\n</member>\n</struct>",
        &Value::Struct(vec![("a".into(), Value::Int(1))]),
    );
}

#[test]
fn what_supervisord_never_sends_is_set_aside() {
    for value in [
        "<nil/>",
        "<double>1.5</double>",
        "<int>x</int>",
        "<boolean>true</boolean>",
        "<base64>AA==</base64>",
        "<a><b>c</b></a>",
    ] {
        reads_as(value, &Value::Other);
    }
}

#[test]
fn the_bytes_of_a_log_come_through_unchanged() {
    let log = b"\x1b[31mred\x1b[0m\0\r\n\r&amp;&lt;&gt; \xe2\x82\xac \x07".as_slice();
    let mut body = b"<methodResponse><params><param><value><string>".to_vec();
    body.extend_from_slice(log);
    body.extend_from_slice(b"</string></value></param></params></methodResponse>");
    read(&body, |reply| {
        let expected = b"\x1b[31mred\x1b[0m\0\r\n\r&<> \xe2\x82\xac \x07";
        assert_eq!(reply.expect("control characters are no reason to fail"), Reply::Result(text(expected)));
    });
}

#[test]
fn bytes_that_are_no_utf8_stand_for_themselves() {
    let body = b"<methodResponse><params><param><value><string>caf\xe9 &amp; \xff\xc3\xa9</string></value></param></params></methodResponse>";
    read(body, |reply| assert_eq!(reply.expect("bytes"), Reply::Result(text(b"caf\xe9 & \xff\xc3\xa9"))));
}

#[test]
fn a_fault_is_told_from_a_result() {
    let body = b"<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>10</int></value></member></struct></value></fault></methodResponse>";
    read(body, |reply| {
        assert_eq!(reply.expect("a fault"), Reply::Fault(Value::Struct(vec![("faultCode".into(), Value::Int(10))])))
    });
}

#[test]
fn other_things_than_xml_rpc_are_called_so() {
    for body in ["", "{}", "<html><body>no</body></html>", "<!DOCTYPE html><html></html>", "plain", "<"] {
        read(body.as_bytes(), |reply| assert_eq!(reply, Err(ReadError::NotRpc), "{body:?}"));
    }
}

#[test]
fn broken_replies_are_refused_with_a_reason() {
    let deep = response(&format!("{}x{}", "<array><data><value>".repeat(40), "</value></data></array>".repeat(40)));
    for body in [
        "<methodResponse>",
        "<methodResponse><params></params></methodResponse>",
        "<methodResponse><params><param><value><int>1</int></value></param><param/></params></methodResponse>",
        "<methodResponse><!DOCTYPE x [<!ENTITY e 'v'>]><params><param><value>&e;</value></param></params></methodResponse>",
        &response("&nbsp;"),
        &response("<string>a<b/></string>"),
        &response("<int>1</int><int>2</int>"),
        &response("<struct><member><name>a</name></member></struct>"),
        &response("<array><value/></array>"),
        &deep,
    ] {
        read(body.as_bytes(), |reply| assert!(matches!(reply, Err(ReadError::Malformed(_))), "{body:?}: {reply:?}"));
    }
}

#[test]
fn a_reply_without_end_of_values_is_refused() {
    let many = response(&format!("<array><data>{}</data></array>", "<value/>".repeat(VALUES_MAX + 1)));
    read(many.as_bytes(), |reply| assert!(matches!(reply, Err(ReadError::Malformed(_)))));
}

/// Sends a name back as supervisord would: replaced and put between tags.
fn echoed(name: &str) -> String {
    let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    response(&format!("<string>{escaped}</string>"))
}

proptest! {
    #[test]
    fn any_text_comes_back_as_it_was(name in any::<String>()) {
        let body = echoed(&name);
        let document = Document::new(body.as_bytes());
        prop_assert_eq!(document.read(), Ok(Reply::Result(text(name.as_bytes()))));
    }

    #[test]
    fn a_request_can_be_read_back(name in any::<String>(), number in any::<i64>()) {
        let call = Call::new("supervisor.readProcessStdoutLog", vec![Parameter::Text(name.clone()), Parameter::Int(number), Parameter::Bool(true)]);
        let request = String::from_utf8(multicall(&[call]).expect("a request")).expect("utf-8");
        // A request is a reply but for its outermost elements.
        let value = request.split_once("<param>").expect("parameters").1.rsplit_once("</param>").expect("an end").0;
        let body = format!("<methodResponse><params><param>{value}</param></params></methodResponse>");
        let document = Document::new(body.as_bytes());
        let parameters = Value::Array(vec![text(name.as_bytes()), Value::Int(number), Value::Bool(true)]);
        let call = Value::Struct(vec![
            ("methodName".into(), text(b"supervisor.readProcessStdoutLog")),
            ("params".into(), parameters),
        ]);
        prop_assert_eq!(document.read(), Ok(Reply::Result(Value::Array(vec![call]))));
    }

    #[test]
    fn no_bytes_bring_the_reader_down(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::new(&body).read();
        let framed = [b"<methodResponse><params><param><value>", body.as_slice()].concat();
        let _ = Document::new(&framed).read();
    }
}
