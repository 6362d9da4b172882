use plugin_sdk::Fault;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Services in a report, as many as a snapshot may have processes.
const SERVICES_MAX: usize = 10_000;

/// What monit says of itself and its services: `/_status2?format=xml`.
///
/// monit names the encoding ISO-8859-1 and writes the bytes of its control file, whatever they are; and it puts names
/// between its tags as they are, `&` and `<` included. So nothing here depends on elements being nested as they should:
/// a value counts by the name of its own element, the first time it stands in a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) version: String,
    /// The name of the machine, as monit knows it.
    pub(crate) host: String,
    pub(crate) services: Vec<Service>,
    /// Services beyond the bound, or without a name.
    pub(crate) skipped: usize,
    /// The bytes are no UTF-8, so every one stands for a character, and names have to go back in the same way.
    pub(crate) is_bytewise: bool,
}

/// A service, with the numbers of monit's own source.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Sorted.
    pub(crate) groups: Vec<String>,
    pub(crate) kind: Option<u64>,
    /// A bit for each check that fails.
    pub(crate) status: Option<u64>,
    pub(crate) monitor: Option<u64>,
    pub(crate) pending: Option<u64>,
    pub(crate) pid: Option<u64>,
    /// In seconds.
    pub(crate) uptime: Option<u64>,
}

/// Where the reader stands.
#[derive(Default)]
enum Scope {
    #[default]
    Outside,
    Server,
    Service(Service),
    Group(String),
    /// Inside a group, in the name of one of its services, which may hold anything.
    Member {
        group: String,
        name: String,
    },
}

/// Reads a report.
///
/// # Errors
/// `node.wrong_endpoint` when it is something else, `node.bad_reply` when it begins like one and cannot be read on.
pub(crate) fn read(body: &[u8]) -> Result<Report, Fault> {
    let text: Cow<'_, str> = match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(body.iter().copied().map(char::from).collect()),
    };
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    config.expand_empty_elements = true;
    let mut parser = Parser { is_bytewise: text.len() != body.len(), ..Parser::default() };
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if !parser.is_report => return Err(wrong_endpoint()),
            Err(why) => return Err(bad_reply(&why.to_string())),
        };
        match event {
            Event::Start(start) | Event::Empty(start) => parser.open(&start)?,
            Event::End(end) => {
                if parser.close(end.name().as_ref()) {
                    return Ok(parser.finish());
                }
            }
            Event::Text(text) => parser.text(&text.into_inner()),
            Event::CData(text) => parser.text(&text.into_inner()),
            Event::GeneralRef(entity) => parser.text(&resolve(&entity)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) | Event::Eof if !parser.is_report => return Err(wrong_endpoint()),
            // It could define entities.
            Event::DocType(_) => return Err(bad_reply("it has a document type")),
            Event::Eof => return Err(bad_reply("it ends too early")),
        }
    }
}

#[derive(Default)]
struct Parser {
    report: Report,
    groups: BTreeMap<String, Vec<String>>,
    scope: Scope,
    /// The element whose text comes next.
    leaf: String,
    is_report: bool,
    is_bytewise: bool,
}

impl Parser {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Fault> {
        let tag = start.name();
        let tag = tag.as_ref();
        if !self.is_report {
            if tag != "monit" {
                return Err(wrong_endpoint());
            }
            self.is_report = true;
            self.report.version = attribute(start, "version");
            return Ok(());
        }
        self.leaf.clear();
        match (&mut self.scope, tag) {
            (Scope::Member { name, .. }, _) => *name += &format!("<{}>", &**start),
            (Scope::Group(group), "service") => {
                self.scope = Scope::Member { group: std::mem::take(group), name: String::new() };
            }
            (Scope::Service(_), _) | (Scope::Group(_), _) => self.leaf.push_str(tag),
            (Scope::Outside | Scope::Server, "service") => {
                self.scope = Scope::Service(Service { name: attribute(start, "name"), ..Service::default() });
            }
            (Scope::Outside | Scope::Server, "servicegroup") => self.scope = Scope::Group(attribute(start, "name")),
            (Scope::Outside, "server") => self.scope = Scope::Server,
            (Scope::Server | Scope::Outside, _) => self.leaf.push_str(tag),
        }
        Ok(())
    }

    /// True when the report has ended.
    fn close(&mut self, tag: &str) -> bool {
        self.leaf.clear();
        match (std::mem::take(&mut self.scope), tag) {
            (Scope::Member { group, name }, "service") => {
                self.groups.entry(name).or_default().push(group.clone());
                self.scope = Scope::Group(group);
            }
            (Scope::Service(service), "service") => self.keep(service),
            (Scope::Server, "server") | (Scope::Group(_), "servicegroup") => {}
            (_, "monit") => return true,
            (scope, _) => self.scope = scope,
        }
        false
    }

    fn text(&mut self, text: &str) {
        match &mut self.scope {
            Scope::Member { name, .. } => name.push_str(text),
            Scope::Server if self.leaf == "localhostname" => self.report.host.push_str(text),
            Scope::Service(service) => {
                let field = match self.leaf.as_str() {
                    "type" => &mut service.kind,
                    "status" => &mut service.status,
                    "monitor" => &mut service.monitor,
                    "pendingaction" => &mut service.pending,
                    "pid" => &mut service.pid,
                    "uptime" => &mut service.uptime,
                    _ => return,
                };
                if field.is_none() {
                    *field = text.trim().parse().ok();
                }
            }
            Scope::Outside | Scope::Server | Scope::Group(_) => {}
        }
    }

    fn keep(&mut self, service: Service) {
        if service.name.is_empty() || self.report.services.len() >= SERVICES_MAX {
            self.report.skipped += 1;
        } else {
            self.report.services.push(service);
        }
    }

    /// Groups stand behind the services.
    fn finish(mut self) -> Report {
        for service in &mut self.report.services {
            service.groups = self.groups.remove(&service.name).unwrap_or_default();
            service.groups.sort();
        }
        self.report.is_bytewise = self.is_bytewise;
        self.report
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let mut attributes = start.attributes();
    let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name);
    let Some(found) = found else { return String::new() };
    // A name that only looks as if it were escaped stands for itself.
    unescape(&found.value).map_or_else(|_| found.value.to_string(), Cow::into_owned)
}

/// What an entity stands for; one that XML does not know is text that nobody escaped.
fn resolve(entity: &BytesRef<'_>) -> String {
    let raw = format!("&{};", &**entity);
    unescape(&raw).map_or_else(|_| raw.clone(), |text| text.into_owned())
}

fn wrong_endpoint() -> Fault {
    Fault::node("node.wrong_endpoint", "what answers at this node is not monit's HTTP interface")
}

fn bad_reply(why: &str) -> Fault {
    Fault::node("node.bad_reply", format!("monit's report cannot be understood: {why}"))
}

#[cfg(test)]
mod tests;
