use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use plugin_sdk::{Exchange, Fault, Request, Response};

/// What goes into both the cookie and the form. monit compares the two to know its own pages from those of others, and
/// takes any value: it guards people with browsers. We enter with a password that no page has.
const TOKEN: &str = "omnivisor";

/// A page that monit gives to those who may look.
///
/// # Errors
/// `node.unauthenticated` or `node.wrong_endpoint` when it is refused or not there, and those of the exchange.
pub(crate) fn get(link: &mut dyn Exchange, path: &str) -> Result<Vec<u8>, Fault> {
    let request = Request { method: "GET".to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    let response = link.send(request)?;
    match response.status {
        200 => Ok(response.body),
        401 | 403 => Err(unauthenticated()),
        status @ (300..=400 | 404 | 405 | 410 | 501) => Err(Fault::node(
            "node.wrong_endpoint",
            format!("nothing at this node serves monit's status (HTTP {status})"),
        )),
        status => Err(strange(status)),
    }
}

/// Asks monit for one action on one service, which it takes without waiting for the effect. `name` are the bytes of the
/// service's name as monit itself spells it.
///
/// # Errors
/// `process.not_found`, `node.unauthenticated`, `node.read_only`, and those of the exchange.
pub(crate) fn act(link: &mut dyn Exchange, action: &str, name: &[u8]) -> Result<(), Fault> {
    let name = percent_encode(name, NON_ALPHANUMERIC);
    let headers = vec![
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ("cookie".to_owned(), format!("securitytoken={TOKEN}")),
    ];
    let body = format!("securitytoken={TOKEN}&action={action}&service={name}").into_bytes();
    let response = link.send(Request { method: "POST".to_owned(), path: "/_doaction".to_owned(), headers, body })?;
    match response.status {
        // The way back to the page with the button.
        200 | 302 => Ok(()),
        400 if says(&response, "There is no service") => {
            Err(Fault::caller("process.not_found", "monit has no such service any more"))
        }
        401 => Err(unauthenticated()),
        403 if says(&response, "CSRF") => {
            Err(Fault::plugin("plugin.bad_request", "monit took the order for one of a foreign web page"))
        }
        403 => Err(Fault::node(
            "node.read_only",
            "monit lets this user look and not act: configure one without `read-only`",
        )),
        status => Err(strange(status)),
    }
}

fn says(response: &Response, words: &str) -> bool {
    String::from_utf8_lossy(&response.body).contains(words)
}

fn unauthenticated() -> Fault {
    Fault::node("node.unauthenticated", "the node refuses the configured user name and password")
}

fn strange(status: u16) -> Fault {
    Fault::node("node.bad_reply", format!("the node answered HTTP {status}"))
}
