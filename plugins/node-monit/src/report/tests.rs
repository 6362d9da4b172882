use super::*;
use crate::script::{process_service, report};

fn parsed(services: &str, groups: &str) -> Report {
    read(report(services, groups).as_bytes()).expect("a report")
}

#[test]
fn a_value_counts_the_first_time_it_stands_in_a_service() {
    let members = "<collected_sec>9</collected_sec><status>512</status><status_hint>0</status_hint><monitor>2</monitor>\
                   <monitormode>0</monitormode><pendingaction>6</pendingaction><pid>9694</pid><uptime>39</uptime>\
                   <memory><percent>0.0</percent></memory><port><type>TCP</type><status>7</status></port>";
    let report = parsed(&process_service("web", members), "");
    let expected = Service {
        name: "web".to_owned(),
        groups: Vec::new(),
        kind: Some(3),
        status: Some(512),
        monitor: Some(2),
        pending: Some(6),
        pid: Some(9694),
        uptime: Some(39),
    };
    assert_eq!(report.services, [expected]);
    assert_eq!((report.version.as_str(), report.host.as_str()), ("5.33.0", "box"));
}

#[test]
fn names_that_nobody_escaped_are_read_as_they_stand() {
    let odd = "a&b <c> 'q' ü";
    let groups = format!(
        "<servicegroup name=\"z\"><service>{odd}</service><service>plain</service></servicegroup>\
                          <servicegroup name=\"b\"><service>{odd}</service></servicegroup>"
    );
    let services = process_service(odd, "<monitor>1</monitor>") + &process_service("plain", "<monitor>0</monitor>");
    let report = parsed(&services, &groups);
    let seen: Vec<_> = report.services.iter().map(|it| (it.name.as_str(), it.groups.join(" "), it.monitor)).collect();
    assert_eq!(seen, [(odd, "b z".to_owned(), Some(1)), ("plain", "z".to_owned(), Some(0))]);
    assert!(!report.is_bytewise);
}

#[test]
fn names_that_are_escaped_are_read_too() {
    let groups = "<servicegroup name=\"g&amp;h\"><service>a&amp;b</service></servicegroup>";
    let report = parsed(&process_service("a&amp;b", ""), groups);
    assert_eq!(
        report.services.first().map(|it| (it.name.as_str(), it.groups.as_slice())),
        Some(("a&b", &["g&h".to_owned()][..]))
    );
}

#[test]
fn bytes_that_are_no_utf_8_stand_for_themselves() {
    let body = report(&process_service("n~me", "<monitor>1</monitor>"), "").into_bytes();
    let body: Vec<u8> = body.into_iter().map(|byte| if byte == b'~' { 0xe4 } else { byte }).collect();
    let report = read(&body).expect("a report");
    assert!(report.is_bytewise);
    assert_eq!(report.services.first().map(|it| it.name.as_str()), Some("n\u{e4}me"));
}

#[test]
fn what_a_check_prints_cannot_pass_for_a_value() {
    let output = "<program><status>3</status><output><![CDATA[<pid>1</pid></service><service name=\"x\">\u{1}\u{1b}[2J]]></output></program>";
    let check = format!("<service name=\"check\"><type>7</type><monitor>1</monitor>{output}</service>");
    let report = parsed(&(check + &process_service("web", "<pid>5</pid>")), "");
    let seen: Vec<_> = report.services.iter().map(|it| (it.name.as_str(), it.pid)).collect();
    assert_eq!(seen, [("check", None), ("web", Some(5))]);
}

#[test]
fn what_is_no_whole_report_is_told_from_what_is_no_report() {
    let whole = report(&process_service("web", "<monitor>1</monitor>"), "");
    let half = whole.split_once("<monitor>").map(|(half, _)| half).expect("it is there");
    assert_eq!(read(half.as_bytes()).expect_err("cut off").code, "node.bad_reply");
    let with_type = whole.replacen("<services>", "<!DOCTYPE x [<!ENTITY a \"b\">]><services>", 1);
    assert_eq!(read(with_type.as_bytes()).expect_err("entities").code, "node.bad_reply");
    for foreign in [&b""[..], b"\xff\xfe\0", b"<html><body>It works!</body></html>", b"<", b"&"] {
        assert_eq!(read(foreign).expect_err("something else").code, "node.wrong_endpoint", "{foreign:?}");
    }
}

#[test]
fn numbers_that_are_none_and_services_without_names_do_no_harm() {
    let services =
        process_service("", "") + &process_service("web", "<status>-1</status><pid>99999999999999999999999</pid>");
    let report = parsed(&services, "");
    assert_eq!((report.skipped, report.services.len()), (1, 1));
    assert_eq!(report.services.first().map(|it| (it.status, it.pid)), Some((None, None)));
}

#[test]
fn more_services_than_a_snapshot_may_have_are_counted() {
    let report = parsed(&process_service("x", "").repeat(SERVICES_MAX + 2), "");
    assert_eq!((report.services.len(), report.skipped), (SERVICES_MAX, 2));
}
