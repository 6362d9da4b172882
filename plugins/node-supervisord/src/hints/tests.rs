use super::*;
use proptest::prelude::*;

fn names(text: &str) -> Vec<String> {
    read(Vec::new(), text.as_bytes()).names
}

#[test]
fn lines_of_a_real_log_name_their_processes() {
    let log = "\
2026-01-01 10:00:00,123 INFO spawned: 'web' with pid 42\n\
2026-01-01 10:00:01,123 INFO success: web entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)\n\
2026-01-01 10:00:02,123 WARN exited: crash (exit status 1; not expected)\n\
2026-01-01 10:00:03,123 INFO gave up: fatal entered FATAL state, too many start retries too quickly\n\
2026-01-01 10:00:04,123 WARN stopped: slow one (terminated by SIGKILL)\n\
2026-01-01 10:00:05,123 INFO waiting for slow to stop\n\
2026-01-01 10:00:06,123 WARN killing 'stub born' (77) with SIGKILL\n\
2026-01-01 10:00:07,123 INFO reopening log file\n";
    assert_eq!(names(log), ["web", "crash", "fatal", "slow one", "slow", "stub born"]);
    assert!(!read(Vec::new(), log.as_bytes()).everything);
}

#[test]
fn odd_names_keep_their_own_words() {
    assert_eq!(names("x INFO spawned: 'it's' with pid 1' with pid 9\n"), ["it's' with pid 1"]);
    assert_eq!(names("x INFO exited: a (b) (exit status 0; expected)\n"), ["a (b)"]);
    assert_eq!(names("x INFO spawned: 'exited: y (z)' with pid 9\n"), ["exited: y (z)"]);
}

#[test]
fn what_tells_of_no_single_process_tells_of_all() {
    for line in [
        "x WARN received SIGTERM indicating exit request\n",
        "x INFO supervisord started with pid 1\n",
        "x INFO waiting for a, b to die\n",
        "x INFO spawnerr: can't find command '/nowhere'\n",
        "==> File truncated <==\n",
    ] {
        let hints = read(Vec::new(), line.as_bytes());
        assert!(hints.everything && hints.names.is_empty(), "{line}");
    }
}

#[test]
fn a_cut_line_waits_for_its_end() {
    let first = read(Vec::new(), b"x INFO spawned: 'we");
    assert_eq!((first.names.len(), first.everything), (0, false));
    let second = read(first.rest, b"b' with pid 4\nx INFO spa");
    assert_eq!(second.names, ["web"]);
    assert_eq!(second.rest, b"x INFO spa");
}

#[test]
fn an_endless_line_is_given_up_and_said() {
    let hints = read(vec![b'x'; REST_BYTES_MAX], b"y");
    assert!(hints.everything && hints.rest.is_empty());
    assert_eq!(read(Vec::new(), &[b'x'; REST_BYTES_MAX]).rest.len(), REST_BYTES_MAX);
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_changes_nothing(cut in 0usize..200, noise in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut log = b"2026-01-01 10:00:00,123 INFO spawned: 'web' with pid 42\n".to_vec();
        log.extend_from_slice(&noise);
        log.extend_from_slice(b"\n2026-01-01 10:00:02,123 WARN exited: cr\xc3\xa4sh (exit status 1; not expected)\n");
        let cut = cut.min(log.len());
        let whole = read(Vec::new(), &log);
        let first = read(Vec::new(), &log[..cut]);
        let second = read(first.rest, &log[cut..]);
        let mut names = first.names;
        names.extend(second.names);
        names.dedup();
        prop_assert_eq!(names, whole.names);
        prop_assert_eq!(second.rest, whole.rest);
    }
}
