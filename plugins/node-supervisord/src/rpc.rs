use crate::fault::RpcFault;
use crate::xml::{self, Call, Document, ReadError, Reply, Value};
use plugin_sdk::{Exchange, Fault, Request, Response};

/// What one call of several came to.
pub(crate) type Answer<'a> = Result<Value<'a>, RpcFault>;

/// A reply to several calls, not read yet.
pub(crate) struct Replies {
    body: Vec<u8>,
    count: usize,
}

/// Makes all calls in one request. supervisord works them off one after the other, at one moment.
///
/// # Errors
/// A fault of the exchange as a whole. What becomes of each call stands in its [`Answer`].
pub(crate) fn send(link: &mut dyn Exchange, calls: &[Call]) -> Result<Replies, Fault> {
    let body = xml::multicall(calls).map_err(|why| Fault::plugin("plugin.bad_request", why.to_string()))?;
    let headers =
        vec![("content-type".to_owned(), "text/xml".to_owned()), ("accept".to_owned(), "text/xml".to_owned())];
    let response = link.send(Request { method: "POST".to_owned(), path: "/RPC2".to_owned(), headers, body })?;
    check_status(&response)?;
    Ok(Replies { body: response.body, count: calls.len() })
}

impl Replies {
    pub(crate) fn document(&self) -> Document<'_> {
        Document::new(&self.body)
    }

    /// The answers, as many as there were calls and in their order.
    ///
    /// # Errors
    /// `node.wrong_endpoint` or `node.bad_reply` when this is no such reply, or the fault of the request as a whole.
    pub(crate) fn answers<'a>(&self, document: &'a Document<'_>) -> Result<Vec<Answer<'a>>, Fault> {
        let values = match document.read() {
            Ok(Reply::Result(Value::Array(values))) => values,
            Ok(Reply::Result(_)) => return Err(bad_reply("it holds no list of answers")),
            Ok(Reply::Fault(value)) => {
                let fault = as_fault(&value).ok_or_else(|| bad_reply("its fault has no code"))?;
                return Err(fault.into_fault());
            }
            Err(ReadError::NotRpc) => {
                let message = "what answers at this node is not supervisord's XML-RPC interface";
                return Err(Fault::node("node.wrong_endpoint", message));
            }
            Err(ReadError::Malformed(why)) => return Err(bad_reply(&why)),
        };
        if values.len() != self.count {
            return Err(bad_reply(&format!("it holds {} answers to {} calls", values.len(), self.count)));
        }
        Ok(values.into_iter().map(|value| as_fault(&value).map_or(Ok(value), Err)).collect())
    }
}

/// A fault that stands in place of a result (S20). A result is never a struct with these members.
fn as_fault(value: &Value<'_>) -> Option<RpcFault> {
    let code = value.member("faultCode")?.as_int()?;
    let text = value.member("faultString").and_then(Value::as_text).unwrap_or_default().into_owned();
    Some(RpcFault { code, text })
}

/// The fault for a reply that cannot be understood; `why` says what is wrong with "it".
pub(crate) fn bad_reply(why: &str) -> Fault {
    Fault::node("node.bad_reply", format!("supervisord's reply cannot be understood: {why}"))
}

fn check_status(response: &Response) -> Result<(), Fault> {
    match response.status {
        200 => Ok(()),
        401 | 403 => Err(Fault::node("node.unauthenticated", "the node refuses the configured user name and password")),
        300..=399 | 404 | 405 | 410 | 501 => {
            let message = format!("nothing at this node serves /RPC2 (HTTP {})", response.status);
            Err(Fault::node("node.wrong_endpoint", message))
        }
        status => Err(Fault::node("node.bad_reply", format!("the node answered HTTP {status}"))),
    }
}
