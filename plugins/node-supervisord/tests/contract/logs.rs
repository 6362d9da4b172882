use crate::node::{Node, id, post};
use node_supervisord::Supervisord;
use plugin_sdk::adapter::{LogChannel, LogRange, LogSlice};
use plugin_sdk::{Exchange, Fault, NodeAdapter};
use std::fs;

fn read(node: &Node, range: LogRange) -> Result<LogSlice, Fault> {
    Supervisord::read_log(&mut node.link(), id("logs", "logs"), LogChannel::Stdout, range)
}

fn write(node: &Node, bytes: &[u8]) {
    fs::write(node.folder().join("out.log"), bytes).expect("the log");
}

fn slice(node: &Node, range: LogRange) -> LogSlice {
    let slice = read(node, range).unwrap_or_else(|fault| panic!("{range:?}: {fault:?}"));
    assert!(slice.start + slice.bytes.len() as u64 <= slice.size);
    slice
}

#[test]
fn s14_s15_a_tail_is_the_files_last_bytes() {
    let node = Node::start();
    write(&node, b"one\ntwo\nthree\n");
    let tail = slice(&node, LogRange::Tail(6));
    assert_eq!((tail.start, tail.bytes.as_slice(), tail.size, tail.has_gap), (8, b"three\n".as_slice(), 14, false));
    let all = slice(&node, LogRange::Tail(1000));
    assert_eq!((all.start, all.bytes.len()), (0, 14));
    write(&node, b"");
    let empty = slice(&node, LogRange::Tail(1000));
    assert_eq!((empty.start, empty.bytes.len(), empty.size), (0, 0, 0));
}

#[test]
fn s16_a_window_begins_exactly_where_it_was_asked_for() {
    let node = Node::start();
    write(&node, b"0123456789");
    for (offset, bytes, expected) in [(0, 4, "0123"), (4, 100, "456789"), (10, 5, ""), (9, 1, "9")] {
        let slice = slice(&node, LogRange::From((offset, bytes)));
        assert_eq!((slice.start, slice.bytes.as_slice(), slice.has_gap), (offset, expected.as_bytes(), false));
    }
}

#[test]
fn s24_a_log_that_became_smaller_begins_again_with_a_gap() {
    let node = Node::start();
    write(&node, b"new\n");
    for offset in [5, 1 << 40, u64::MAX] {
        let slice = slice(&node, LogRange::From((offset, 100)));
        assert_eq!((slice.start, slice.bytes.as_slice(), slice.has_gap), (0, b"new\n".as_slice(), true));
    }
}

#[test]
fn s16_a_missing_log_and_a_missing_process_are_told_apart() {
    let node = Node::start();
    assert_eq!(read(&node, LogRange::Tail(10)).expect_err("no file").code, "log.not_found");
    assert_eq!(read(&node, LogRange::From((0, 10))).expect_err("no file").code, "log.not_found");
    let read = |id, channel| Supervisord::read_log(&mut node.link(), id, channel, LogRange::Tail(10));
    assert_eq!(read(id("mute", "mute"), LogChannel::Stderr).expect_err("none kept").code, "log.not_found");
    assert_eq!(read(id("no", "no"), LogChannel::Stdout).expect_err("no process").code, "process.not_found");
    assert_eq!(read(id("web", "*"), LogChannel::Stdout).expect_err("no name").code, "process.not_found");
    fs::write(node.folder().join("err.log"), "to stderr").expect("the log");
    assert_eq!(read(id("logs", "logs"), LogChannel::Stderr).expect("a log").bytes, b"to stderr");
}

#[test]
fn s18_control_characters_and_line_ends_come_unchanged() {
    let node = Node::start();
    let log: Vec<u8> = (0..=0x7f).chain(*b"\r\n\r \x1b[31m<&>\"']]>&amp;\0\r").collect();
    write(&node, &log);
    assert_eq!(slice(&node, LogRange::Tail(1000)).bytes, log);
    assert_eq!(slice(&node, LogRange::From((3, 40))).bytes, log[3..43]);
}

#[test]
fn s17_one_call_alone_would_be_answered_with_500() {
    let node = Node::start();
    write(&node, "a€".as_bytes());
    let body = "<methodCall><methodName>supervisor.readProcessStdoutLog</methodName><params><param><value>logs</value></param>\
                <param><value><int>0</int></value></param><param><value><int>2</int></value></param></params></methodCall>";
    assert_eq!(node.link().send(post(body)).expect("a reply").status, 500);
}

#[test]
fn s17_every_window_over_split_characters_is_exact() {
    let node = Node::start();
    let log = "aé€😀\n€b".as_bytes();
    write(&node, log);
    for start in 0..log.len() {
        let tail = slice(&node, LogRange::Tail((log.len() - start) as u32));
        assert_eq!((tail.start, tail.bytes.as_slice(), tail.has_gap), (start as u64, &log[start..], false));
        for end in start + 1..=log.len() {
            let slice = slice(&node, LogRange::From((start as u64, (end - start) as u32)));
            assert_eq!((slice.bytes.as_slice(), slice.has_gap), (&log[start..end], false), "{start}..{end}");
        }
    }
}

#[test]
fn s17_bytes_that_are_no_utf8_are_given_by_value() {
    let node = Node::start();
    let log = b"caf\xe9 latin \xfc\xff\n\x80plain \xe2\x82\xac\n".repeat(40);
    write(&node, &log);
    assert_eq!(slice(&node, LogRange::Tail(100_000)).bytes, log);
    let from = slice(&node, LogRange::From((5, 300)));
    assert_eq!((from.bytes.as_slice(), from.has_gap), (&log[5..305], false));
}

#[test]
fn s17_a_character_that_is_half_written_waits_for_its_other_half() {
    let node = Node::start();
    write(&node, b"abc\xe2\x82");
    let tail = slice(&node, LogRange::Tail(100));
    assert_eq!((tail.start, tail.bytes.as_slice(), tail.size, tail.has_gap), (0, b"abc".as_slice(), 5, false));
    let from = slice(&node, LogRange::From((3, 100)));
    assert_eq!((from.start, from.bytes.len(), from.has_gap), (3, 0, false));
}

#[test]
fn s17_what_cannot_be_had_is_a_gap_and_never_another_byte() {
    let node = Node::start();
    // The lead byte of a broken character is the one byte that supervisord never tells.
    write(&node, b"before\xe2\x82after");
    let tail = slice(&node, LogRange::Tail(100));
    assert_eq!((tail.start, tail.bytes.as_slice(), tail.has_gap), (8, b"after".as_slice(), true));
    let first = slice(&node, LogRange::From((0, 100)));
    assert_eq!((first.start, first.bytes.as_slice(), first.has_gap), (0, b"before".as_slice(), false));
    let next = slice(&node, LogRange::From((6, 100)));
    assert_eq!((next.start, next.bytes.as_slice(), next.has_gap), (8, b"after".as_slice(), true));
}

#[test]
fn s17_a_binary_log_is_read_to_its_end_without_a_wrong_byte() {
    let node = Node::start();
    let mut seed = 7u32;
    let log: Vec<u8> = (0..3000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    write(&node, &log);
    let (mut at, mut hidden) = (0, 0);
    while at < log.len() as u64 {
        let slice = slice(&node, LogRange::From((at, 4096)));
        let start = slice.start as usize;
        assert_eq!(slice.bytes, log[start..start + slice.bytes.len()]);
        assert_eq!(slice.has_gap, slice.start > at);
        hidden += slice.start - at;
        let next = slice.start + slice.bytes.len() as u64;
        assert!(next > at || slice.bytes.is_empty() && at + 4 > log.len() as u64, "no way forward at {at}");
        if next == at {
            break;
        }
        at = next;
    }
    assert!(hidden < 200, "{hidden} of 3000 bytes could not be had");
    let tail = slice(&node, LogRange::Tail(1000));
    let start = tail.start as usize;
    assert_eq!(tail.bytes, log[start..start + tail.bytes.len()]);
}

#[test]
fn s17_far_from_the_end_whole_characters_are_found_and_flaws_are_gaps() {
    let node = Node::start();
    let mut log = "é€\n".repeat(2000).into_bytes();
    let flaw = log.len();
    log.push(0xff);
    log.extend_from_slice("€uro\n".repeat(200_000).as_bytes());
    write(&node, &log);
    for (start, bytes) in [(1, 10), (3, 4), (2, 6000)] {
        let slice = slice(&node, LogRange::From((start, bytes)));
        assert_eq!(slice.bytes, log[start as usize..(start + u64::from(bytes)) as usize]);
    }
    let before = slice(&node, LogRange::From((flaw as u64 - 600, 2000)));
    assert!(!before.bytes.is_empty());
    assert_eq!(before.bytes, log[flaw - 600..flaw - 600 + before.bytes.len()]);
    let after = slice(&node, LogRange::From((flaw as u64, 2000)));
    assert_eq!((after.start, after.has_gap), (flaw as u64 + 1, true));
    assert_eq!(after.bytes, log[flaw + 1..flaw + 1 + after.bytes.len()]);
}

#[test]
fn a_long_tail_stays_within_one_reply() {
    let node = Node::start();
    write(&node, &vec![b'&'; 1 << 20]);
    let tail = slice(&node, LogRange::Tail(1 << 20));
    assert_eq!((tail.bytes.len(), tail.has_gap), (512 << 10, false));
}
