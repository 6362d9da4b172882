use super::*;
use plugin_sdk::validator::{Field, ProcessId};

/// 2026-12-24T12:00:00Z.
const CHRISTMAS_MS: u64 = 1_798_113_600_000;

fn settings(windows: &str) -> Settings {
    Settings::parse(&format!(r#"{{"windows":[{windows}]}}"#)).expect("sound settings")
}

fn december() -> Settings {
    settings(
        r#"{"environments":["production"],"from":"2026-12-20T00:00","to":"2027-01-04T08:00","time_zone":"Europe/Berlin","reason":"end of the year"}"#,
    )
}

fn target(node: &str, environment: Option<&str>) -> Target {
    Target {
        node: node.to_owned(),
        environment: environment.map(str::to_owned),
        process: Some(ProcessId { group: "web".to_owned(), name: "web_00".to_owned() }),
        extra: vec![],
    }
}

fn restart(targets: Vec<Target>) -> Operation {
    let field = |pointer: &str, value: &str| Field { pointer: pointer.to_owned(), value: value.to_owned() };
    Operation {
        name: "process.restart".to_owned(),
        is_mutating: true,
        principal: Some(Principal {
            name: "ann".to_owned(),
            role: "operator".to_owned(),
            strategy: "auth-local".to_owned(),
            permissions: vec!["process.control".to_owned()],
            extra: vec![],
        }),
        targets,
        fields: vec![field("/path/node", "web-1"), field("/body/wait_ms", "0")],
        at_ms: CHRISTMAS_MS,
        extra: vec![],
    }
}

fn asking(mut operation: Operation, reason: &str) -> Operation {
    operation.fields.push(Field { pointer: OVERRIDE.to_owned(), value: reason.to_owned() });
    operation
}

fn by_admin(mut operation: Operation) -> Operation {
    let who = operation.principal.as_mut().expect("somebody asks");
    who.permissions.push("change.override".to_owned());
    operation
}

fn messages(settings: &Settings, operation: &Operation) -> Vec<String> {
    judge(settings, operation).expect("a verdict").into_iter().map(|violation| violation.message).collect()
}

#[test]
fn inside_a_window_the_order_is_refused_with_window_end_and_way_out() {
    let operation = restart(vec![target("web-1", Some("production"))]);
    let violations = judge(&december(), &operation).expect("a verdict");
    let [violation] = violations.as_slice() else { panic!("one window: {violations:?}") };
    assert_eq!((violation.pointer.as_str(), violation.code.as_str()), ("/path/node", "change_freeze"));
    assert_eq!(
        violation.message,
        "`web-1` (`production`) is frozen until 2027-01-04T08:00+01:00[Europe/Berlin] by window 1 (end of the year); wait, \
         or let somebody with the permission `change.override` do it with `override` and a reason"
    );
}

#[test]
fn outside_of_time_place_and_kind_it_goes_through() {
    let settings = december();
    let production = vec![target("web-1", Some("production"))];
    assert_eq!(messages(&settings, &Operation { at_ms: 0, ..restart(production.clone()) }), [""; 0]);
    assert_eq!(messages(&settings, &restart(vec![target("web-1", Some("staging"))])), [""; 0]);
    assert_eq!(messages(&settings, &restart(vec![target("web-1", None)])), [""; 0]);
    assert_eq!(messages(&settings, &restart(vec![])), [""; 0], "it is about nothing that could be frozen");
    assert_eq!(messages(&settings, &Operation { is_mutating: false, ..restart(production) }), [""; 0]);
}

#[test]
fn an_override_takes_the_permission_and_a_reason_and_both() {
    let settings = december();
    let order = restart(vec![target("web-1", Some("production"))]);
    assert_eq!(messages(&settings, &asking(by_admin(order.clone()), "hotfix 42")), [""; 0]);
    let may = messages(&settings, &by_admin(order.clone()));
    assert!(may.concat().ends_with("; you may override it: repeat with `override` and a reason"), "{may:?}");
    let blank = messages(&settings, &asking(by_admin(order.clone()), "  "));
    assert_eq!(may, blank, "a blank is no reason");
    let may_not = messages(&settings, &asking(order.clone(), "hotfix 42"));
    let expected = "; your `override` does not count: it needs the permission `change.override`";
    assert!(may_not.concat().ends_with(expected), "{may_not:?}");
    let nobody = asking(Operation { principal: None, ..order }, "hotfix 42");
    assert_eq!(messages(&settings, &nobody).len(), 1, "nobody may do nothing");
}

#[test]
fn the_permission_is_the_one_that_the_operator_named() {
    let json = r#"{"windows":[{"environments":["*"],"from":"2026-01-01T00:00","to":"2027-01-01T00:00"}],"override_permission":"process.control"}"#;
    let settings = Settings::parse(json).expect("sound settings");
    let order = asking(restart(vec![target("web-1", None)]), "hotfix 42");
    assert_eq!(messages(&settings, &order), [""; 0]);
}

#[test]
fn each_open_window_is_told_and_only_the_star_covers_nodes_without_environment() {
    let settings = settings(
        r#"{"environments":["production"],"from":"2026-12-20T00:00","to":"2027-01-04T08:00"},
           {"environments":["production"],"from":"2026-01-01T00:00","to":"2026-02-01T00:00"},
           {"environments":["*"],"weekly":["thu 00:00","fri 00:00"]}"#,
    );
    let both = messages(&settings, &restart(vec![target("web-1", Some("production"))]));
    assert!(both.len() == 2 && both[0].contains("window 1;") && both[1].contains("window 3;"), "{both:?}");
    let bare = messages(&settings, &restart(vec![target("lab", None)]));
    assert!(
        bare.len() == 1 && bare[0].starts_with("`lab` (`no environment`) is frozen until 2026-12-25T00:00"),
        "{bare:?}"
    );
}

#[test]
fn many_targets_make_one_short_violation_a_window() {
    let mut targets: Vec<_> = (0..10_000).map(|n| target(&format!("web-{n:05}"), Some("production"))).collect();
    targets.push(target("lab", None));
    let operation = Operation { fields: vec![], ..restart(targets) };
    let violations = judge(&december(), &operation).expect("a verdict");
    let [violation] = violations.as_slice() else { panic!("one window") };
    assert_eq!(violation.pointer, "", "no field names them");
    assert!(violation.message.contains("`web-00004` and 9995 more (`production`) are frozen"), "{}", violation.message);
    assert!(violation.message.len() < 1_024);
}

#[test]
fn one_frozen_target_among_others_is_enough_and_is_the_one_named() {
    let targets = vec![target("lab", Some("staging")), target("web-1", Some("production"))];
    let told = messages(&december(), &restart(targets));
    assert!(told.len() == 1 && told[0].starts_with("`web-1` (`production`) is frozen"), "{told:?}");
}

#[test]
fn a_time_that_no_calendar_has_is_a_fault() {
    let operation = Operation { at_ms: u64::MAX, ..restart(vec![target("web-1", Some("production"))]) };
    assert_eq!(judge(&december(), &operation).expect_err("no such time").code, "freeze.clock");
}
