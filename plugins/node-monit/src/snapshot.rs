use crate::{link, process, report};
use plugin_sdk::adapter::{Process, ProcessId, Snapshot};
use plugin_sdk::{Exchange, Fault, log};

/// The second form of monit's report is the one that tells of groups.
const REPORT: &str = "/_status2?format=xml&level=full";

/// The report of this moment.
pub(crate) fn report(link: &mut dyn Exchange) -> Result<report::Report, Fault> {
    report::read(&link::get(link, REPORT)?)
}

/// Reads everything in one request.
pub(crate) fn everything(link: &mut dyn Exchange) -> Result<Snapshot, Fault> {
    let report = report(link)?;
    let mut extra = Vec::new();
    if report.skipped > 0 {
        log::warn!("some services are not shown: they have no name, or there are too many", skipped = report.skipped);
        extra.push(("skipped".to_owned(), report.skipped.to_string()));
    }
    let processes = report.services.iter().filter_map(process::read).collect();
    Ok(Snapshot { version: report.version, identification: report.host, processes, extra })
}

/// Reads some processes, from the same document: monit has no smaller one. Nobody asked for is a nudge, and answered
/// without looking at anything.
pub(crate) fn some(link: &mut dyn Exchange, ids: &[ProcessId]) -> Result<Vec<Process>, Fault> {
    if ids.is_empty() {
        link::get(link, "/_ping")?;
        return Ok(Vec::new());
    }
    let report = report(link)?;
    Ok(report.services.iter().filter_map(process::read).filter(|process| ids.contains(&process.id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, page, process_service, report as xml};
    use plugin_sdk::adapter::ProcessState;

    fn id(group: &str, name: &str) -> ProcessId {
        ProcessId { group: group.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn everything_is_one_request_and_only_processes_are_shown() {
        let services = process_service("web", "<status>0</status><monitor>1</monitor><pid>7</pid><uptime>3</uptime>")
            + "<service name=\"disk\"><type>0</type><status>0</status><monitor>1</monitor></service>";
        let mut link = Script::new(|request| {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", REPORT));
            page(200, &xml(&services, "<servicegroup name=\"www\"><service>web</service></servicegroup>"))
        });
        let snapshot = everything(&mut link).expect("a snapshot");
        assert_eq!(link.sent.len(), 1);
        assert_eq!((snapshot.version.as_str(), snapshot.identification.as_str()), ("5.33.0", "box"));
        let [web] = snapshot.processes.as_slice() else { panic!("one: {:?}", snapshot.processes) };
        assert_eq!(
            (&web.id, &web.state, web.pid, web.uptime_ms),
            (&id("www", "web"), &ProcessState::Running, Some(7), Some(3000))
        );
    }

    #[test]
    fn those_asked_for_come_from_the_same_document_and_a_nudge_from_the_smallest() {
        let services = process_service("a", "<monitor>0</monitor>") + &process_service("b", "<monitor>0</monitor>");
        let mut link = Script::new(|request| match request.path.as_str() {
            "/_ping" => page(200, "pong"),
            _ => page(200, &xml(&services, "")),
        });
        let found = some(&mut link, &[id("b", "b"), id("x", "a"), id("gone", "gone")]).expect("answered");
        assert_eq!(found.iter().map(|process| process.id.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(some(&mut link, &[]), Ok(Vec::new()));
        let paths: Vec<&str> = link.sent.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths, [REPORT, "/_ping"]);
    }

    #[test]
    fn a_refusal_and_a_stranger_have_their_codes() {
        let code = |status, body: &'static str| {
            everything(&mut Script::new(move |_| page(status, body))).expect_err("a fault").code
        };
        assert_eq!(code(401, "<html>Unauthorized</html>"), "node.unauthenticated");
        assert_eq!(code(403, ""), "node.unauthenticated");
        assert_eq!(code(404, ""), "node.wrong_endpoint");
        assert_eq!(code(302, ""), "node.wrong_endpoint");
        assert_eq!(code(500, ""), "node.bad_reply");
        for body in ["", "<!DOCTYPE html><html></html>", "{\"a\":1}", "<rss version=\"2.0\"></rss>", "pong"] {
            assert_eq!(code(200, body), "node.wrong_endpoint", "{body}");
        }
    }
}
