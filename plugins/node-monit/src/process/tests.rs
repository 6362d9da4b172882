use super::*;

fn service(monitor: u64, status: u64, pending: u64, pid: u64) -> Service {
    Service {
        name: "web".to_owned(),
        kind: Some(KIND_PROCESS),
        status: Some(status),
        monitor: Some(monitor),
        pending: Some(pending),
        pid: Some(pid).filter(|&pid| pid > 0),
        uptime: Some(5),
        ..Service::default()
    }
}

/// Each row was seen on a monit 5.33.0.
#[test]
fn what_monit_says_becomes_a_state_and_keeps_its_words() {
    use ProcessState as S;
    for (monitor, status, pending, pid, state, words) in [
        (1, 0, 0, 7, S::Running, "OK"),
        (1, 2, 0, 7, S::Running, "Resource limit matched"),
        (0, 0, 0, 0, S::Unknown, "Not monitored"),
        (0, 0, 6, 0, S::Starting, "Not monitored - start pending"),
        (1, 0, 3, 7, S::Stopping, "OK - stop pending"),
        (1, 0, 2, 7, S::Running, "OK - restart pending"),
        (2, 0, 2, 0, S::Starting, "Initializing - restart pending"),
        (1, 0, 5, 7, S::Running, "OK - unmonitor pending"),
        (0, 0, 7, 0, S::Unknown, "Not monitored - monitor pending"),
        (2, 0, 0, 0, S::Starting, "Initializing"),
        (2, 512, 0, 0, S::Starting, "Initializing"),
        (1, 512, 0, 0, S::Exited, "Does not exist"),
        (1, 2048, 0, 0, S::Unknown, "Data access error"),
        (1, 4608, 0, 0, S::Backoff, "Execution failed | Does not exist"),
        (2, 4608, 0, 0, S::Backoff, "Initializing"),
        (4, 0, 0, 0, S::Unknown, "Waiting"),
        (1, 0, 0, 0, S::Starting, "OK"),
        (1, 1 << 40, 0, 0, S::Exited, "Failed (status 1099511627776)"),
    ] {
        let seen = read(&service(monitor, status, pending, pid)).expect("a process");
        assert_eq!((&seen.state, seen.native_state.as_str()), (&state, words), "{monitor} {status} {pending} {pid}");
        assert_eq!(seen.pid.is_some(), pid > 0);
        assert_eq!(seen.uptime_ms, (pid > 0).then_some(5_000));
        assert!(seen.extra.contains(&("monitored".to_owned(), (monitor != 0).to_string())));
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_else() {
    let message = |service: &Service| read(service).expect("a process").message;
    assert_eq!(message(&service(1, 0, 0, 7)), "");
    assert_eq!(message(&service(1, 4608, 0, 0)), "Execution failed | Does not exist");
    assert!(message(&service(0, 0, 0, 0)).contains("does not watch"));
    assert_eq!(message(&service(0, 0, 6, 0)), "", "it is on its way");
}

#[test]
fn words_are_cut_before_what_is_pending() {
    let native = read(&service(1, u64::MAX, 2, 0)).expect("a process").native_state;
    assert_eq!(native.len(), NATIVE_STATE_BYTES_MAX);
    assert!(native.ends_with(" - restart pending"), "{native}");
}

#[test]
fn an_address_is_the_first_usable_group_or_the_name_itself() {
    let id = |name: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        read(&Service { name: name.to_owned(), groups, ..service(1, 0, 0, 7) })
            .map(|it| format!("{}:{}", it.id.group, it.id.name))
    };
    assert_eq!(id("web", &[]).as_deref(), Some("web:web"));
    assert_eq!(id("web", &["front", "www"]).as_deref(), Some("front:web"));
    assert_eq!(id("web", &["a:b", "www"]).as_deref(), Some("www:web"));
    assert_eq!(id("a:b", &[]).as_deref(), Some("monit:a:b"));
    assert_eq!(id(&"x".repeat(256), &["g"]), None);
    assert_eq!(id(&"x".repeat(255), &[&"y".repeat(256)]).map(|id| id.len()), Some(255 * 2 + 1));
}

#[test]
fn services_of_other_kinds_are_no_processes() {
    for kind in [0, 1, 2, 4, 5, 6, 7, 8] {
        assert_eq!(read(&Service { kind: Some(kind), ..service(1, 0, 0, 7) }), None);
    }
    assert_eq!(read(&Service { kind: None, ..service(1, 0, 0, 7) }), None);
}

#[test]
fn all_groups_are_told_where_the_address_names_one_of_several() {
    let groups = vec!["front".to_owned(), "www".to_owned()];
    let extra = read(&Service { groups, ..service(1, 0, 0, 7) }).expect("a process").extra;
    assert!(extra.contains(&("groups".to_owned(), "front, www".to_owned())), "{extra:?}");
}
