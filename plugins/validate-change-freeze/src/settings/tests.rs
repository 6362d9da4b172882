use super::*;

fn told(json: &str) -> String {
    Settings::parse(json).expect_err("it is faulty").message
}

/// The one window with these members besides its environments.
fn window(members: &str) -> String {
    format!(r#"{{"windows":[{{"environments":["production"],{members}}}]}}"#)
}

#[test]
fn the_settings_of_the_documents_are_read_with_their_defaults() {
    let json = r#"{"windows":[
        {"environments":["production"],"from":"2026-12-20T00:00","to":"2027-01-04T08:00","time_zone":"Europe/Berlin","reason":"end of the year"},
        {"environments":["*"],"weekly":["fri 16:00","mon 08:00"]}]}"#;
    let settings = Settings::parse(json).expect("it is sound");
    assert_eq!(settings.operations, super::DEFAULT);
    assert_eq!(settings.override_permission, "change.override");
    let [first, second] = settings.windows.as_slice() else { panic!("two windows") };
    assert_eq!((first.number, first.reason.as_deref()), (1, Some("end of the year")));
    assert_eq!(first.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!((second.number, second.reason.as_deref(), second.zone.iana_name()), (2, None, Some("UTC")));
    assert!(matches!(second.span, Span::Weekly { from, .. } if from.weekday == Weekday::Friday));
}

#[test]
fn every_fault_is_told_by_its_key() {
    for (json, key) in [
        ("{}".to_owned(), "missing field `windows`"),
        (r#"{"windows":[]}"#.to_owned(), "`windows`: there are 0"),
        (r#"{"windows":7}"#.to_owned(), "`windows`: invalid type"),
        (r#"{"window":[]}"#.to_owned(), "unknown field `window`"),
        (window(r#""weekly":["fri 16:00","mon 08:00"],"zone":"UTC""#), "`windows[0].zone`: unknown field"),
        (window(r#""weekly":["fri 16:00","mon 08:00"],"time_zone":"Mars/Olympus""#), "`windows[0].time_zone`"),
        (window(r#""weekly":["fri 16:00","mon 08:00"],"time_zone":"+02:00""#), "`windows[0].time_zone`"),
        (window(r#""weekly":["fri 16:00"]"#), "`windows[0].weekly`: two moments"),
        (window(r#""weekly":["friday 16:00","mon 08:00"]"#), "`windows[0].weekly`: `mon`, `tue`"),
        (window(r#""weekly":["fri 24:00","mon 08:00"]"#), "`windows[0].weekly`"),
        (window(r#""weekly":["fri 16:00","mon 8:00"]"#), "`windows[0].weekly`"),
        (window(r#""weekly":["fri 16:00","fri 16:00"]"#), "`windows[0].weekly`: it ends when it begins"),
        (window(r#""from":"2026-12-20T00:00""#), "`windows[0]`: either `from` and `to` or `weekly`"),
        (window(r#""from":"2026-12-20","to":"2026-12-21T00:00""#), "`windows[0].from`: a local time"),
        (window(r#""from":"2026-12-20T00:00Z","to":"2026-12-21T00:00""#), "`windows[0].from`: a local time"),
        (window(r#""from":"2026-02-30T00:00","to":"2026-12-21T00:00""#), "`windows[0].from`: a local time"),
        (window(r#""from":"2026-12-20T00:00","to":"2026-12-20T00:00""#), "`windows[0].to`: it is not after `from`"),
        (
            window(r#""from":"2026-12-20T00:00","to":"2026-12-21T00:00","weekly":["fri 16:00","mon 08:00"]"#),
            "`windows[0]`: either",
        ),
        (window(r#""weekly":["fri 16:00","mon 08:00"],"reason":"a\u001b[2J""#), "`windows[0].reason`"),
        (
            r#"{"windows":[{"environments":[],"weekly":["fri 16:00","mon 08:00"]}]}"#.to_owned(),
            "`windows[0].environments`: there are 0",
        ),
        (
            r#"{"windows":[{"environments":[""],"weekly":["fri 16:00","mon 08:00"]}]}"#.to_owned(),
            "`windows[0].environments`: names of 1",
        ),
    ] {
        let told = told(&json);
        assert!(told.starts_with("its settings: ") && told.contains(key), "{json}: {told}");
        assert!(!told.contains("column"), "{told}");
    }
    let good = r#""windows":[{"environments":["*"],"weekly":["fri 16:00","mon 08:00"]}]"#;
    let operations = told(&format!(r#"{{{good},"operations":["process.stop","log.read"]}}"#));
    assert!(operations.contains("`operations[1]`"), "{operations}");
    let permission = told(&format!(r#"{{{good},"override_permission":""}}"#));
    assert!(permission.contains("`override_permission`"), "{permission}");
}

#[test]
fn all_faults_are_told_at_once_and_cut_where_the_host_would() {
    let two = told(&window(r#""weekly":["x","mon 08:00"],"time_zone":"x""#));
    assert!(two.contains("`windows[0].weekly`") && two.contains("`windows[0].time_zone`"), "{two}");
    let bad = r#"{"environments":[],"weekly":["x"],"time_zone":"x"}"#;
    let many = told(&format!(r#"{{"windows":[{}]}}"#, [bad; 60].join(",")));
    assert!(many.len() <= 1_024 && many.contains("; and ") && many.ends_with(" more"), "{many}");
}
