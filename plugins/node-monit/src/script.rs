//! A scripted node for the adapter's own tests, and the least that a report holds.

use plugin_sdk::{Exchange, Failure, Request, Response};

/// A node whose replies are made by a function of the request. Remembers what was sent.
pub(crate) struct Script<F> {
    answer: F,
    pub(crate) sent: Vec<Request>,
}

impl<F: FnMut(&Request) -> Result<Response, Failure>> Script<F> {
    pub(crate) fn new(answer: F) -> Self {
        Self { answer, sent: Vec::new() }
    }
}

impl<F: FnMut(&Request) -> Result<Response, Failure>> Exchange for Script<F> {
    fn send(&mut self, request: Request) -> Result<Response, Failure> {
        let reply = (self.answer)(&request);
        self.sent.push(request);
        reply
    }
}

pub(crate) fn page(status: u16, body: &str) -> Result<Response, Failure> {
    Ok(Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
}

/// The report of a monit with these services and groups, both in XML.
pub(crate) fn report(services: &str, groups: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><monit id=\"i\" incarnation=\"1\" version=\"5.33.0\"><server>\
         <uptime>39</uptime><poll>1</poll><localhostname>box</localhostname><httpd><port>2812</port></httpd></server>\
         <platform><name>Linux</name><version>#1</version></platform><services>{services}</services>\
         <servicegroups>{groups}</servicegroups></monit>"
    )
}

pub(crate) fn process_service(name: &str, members: &str) -> String {
    format!("<service name=\"{name}\"><type>3</type>{members}</service>")
}
