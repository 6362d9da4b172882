use super::*;
use crate::script::{ReadCall, Script, answers, fault, string};
use plugin_sdk::{Failure, Response};
use proptest::prelude::*;

/// Answers a call as supervisord 4.3 does for a log of these bytes (`readFile` and `tailFile` of its `options.py`).
fn answer(log: &[u8], (method, parameters): &ReadCall) -> String {
    let number = |at: usize| parameters[at].parse::<i64>().expect("a number");
    let (offset, length, size) = (number(1), number(2), log.len() as i64);
    if method == "supervisor.readProcessStdoutLog" {
        let from = if offset < 0 { (size + offset).max(0) } else { offset.min(size) };
        let to = if length == 0 { size } else { (from + length).min(size) };
        return match std::str::from_utf8(&log[from as usize..to as usize]) {
            Ok(text) => string(text),
            Err(_) => fault(30, "FAILED: <class 'AttributeError'>:type object 'Faults' has no attribute 'utf-8'"),
        };
    }
    let bytes = &log[(size - length).max(0) as usize..];
    match std::str::from_utf8(bytes) {
        Ok(text) => format!(
            "<array><data><value>{}</value><value><int>{size}</int></value><value><boolean>0</boolean></value></data></array>",
            string(text)
        ),
        Err(why) => {
            let at = why.valid_up_to();
            let last = why.error_len().map_or(bytes.len(), |length| at + length) - 1;
            let place = if last == at {
                format!("byte 0x{:02x} in position {at}", bytes[at])
            } else {
                format!("bytes in position {at}-{last}")
            };
            fault(30, &format!("FAILED: <class 'UnicodeDecodeError'>:'utf-8' codec can't decode {place}: invalid"))
        }
    }
}

fn serve(log: &[u8], calls: &[ReadCall]) -> Result<Response, Failure> {
    answers(&calls.iter().map(|call| answer(log, call)).collect::<Vec<_>>())
}

fn ask(link: &mut dyn Exchange, range: LogRange) -> Result<LogSlice, Fault> {
    let id = ProcessId { group: "g".to_owned(), name: "n".to_owned() };
    read(link, &id, &LogChannel::Stdout, &range)
}

/// Text, text with a broken byte here and there, and noise.
fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => "[a-z\n]{1,12}".prop_map(String::into_bytes),
        3 => "[é€😀<&>\u{1b}\r]{1,4}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn holds(slice: &LogSlice, log: &[u8]) -> Result<(), TestCaseError> {
    let start = slice.start as usize;
    prop_assert!(start + slice.bytes.len() <= log.len());
    prop_assert_eq!(&slice.bytes, &log[start..start + slice.bytes.len()]);
    prop_assert_eq!(slice.size, log.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tail_never_holds_a_byte_that_is_not_the_files(log in any_log(), bytes in 1u32..400) {
        let mut link = Script::new(|calls: Vec<ReadCall>| serve(&log, &calls));
        let slice = ask(&mut link, LogRange::Tail(bytes)).expect("a slice");
        holds(&slice, &log)?;
        prop_assert!(slice.bytes.len() <= bytes as usize);
        let is_text = std::str::from_utf8(&log).is_ok();
        if is_text {
            prop_assert_eq!((slice.bytes.len(), slice.has_gap), (log.len().min(bytes as usize), false));
        }
    }

    #[test]
    fn reading_on_reaches_the_end_with_every_hole_announced(log in any_log(), bytes in 1u32..100) {
        let mut link = Script::new(|calls: Vec<ReadCall>| serve(&log, &calls));
        let (mut at, mut read) = (0u64, 0u64);
        for _ in 0..=log.len() {
            let slice = ask(&mut link, LogRange::From((at, bytes))).expect("a slice");
            holds(&slice, &log)?;
            prop_assert!(slice.bytes.len() <= bytes as usize);
            prop_assert_eq!(slice.has_gap, slice.start > at);
            read += slice.bytes.len() as u64;
            let next = slice.start + slice.bytes.len() as u64;
            if next == at {
                break;
            }
            at = next;
        }
        let is_text = std::str::from_utf8(&log).is_ok();
        prop_assert!(!is_text || read == log.len() as u64);
        prop_assert!(at + 3 >= log.len() as u64, "only half a character may be left at the end, not {} of {}", at, log.len());
    }

    #[test]
    fn a_log_that_grows_meanwhile_is_read_right(log in any_log(), more in any_log(), bytes in 1u32..400) {
        let mut log = log;
        let mut growth = more.into_iter();
        let mut seen = Vec::new();
        let mut link = Script::new(|calls: Vec<ReadCall>| {
            let reply = serve(&log, &calls);
            log.extend(growth.by_ref().take(3));
            seen.clone_from(&log);
            reply
        });
        // A reader that is outrun may give up; it never makes bytes up, and it does not go on for ever.
        let slice = ask(&mut link, LogRange::Tail(bytes));
        prop_assert!(link.requests <= 22, "{} requests", link.requests);
        if let Ok(slice) = slice {
            let start = slice.start as usize;
            prop_assert_eq!(&slice.bytes, &seen[start..start + slice.bytes.len()]);
        }
    }

    #[test]
    fn no_words_of_the_decoder_bring_the_reader_down(words in "(can't decode )?(byte|bytes)?( 0x)?[0-9a-f]{0,20}( in position )?[0-9]{0,22}-?[0-9]{0,22}:?.{0,5}") {
        let mut link = Script::new(|calls: Vec<ReadCall>| {
            let size = "<array><data><value/><value><int>50</int></value><value><boolean>0</boolean></value></data></array>".to_owned();
            let rest = calls.iter().skip(1).map(|_| fault(30, &format!("UnicodeDecodeError: {words}")));
            answers(&std::iter::once(size).chain(rest).collect::<Vec<_>>())
        });
        let _ = ask(&mut link, LogRange::Tail(50));
        let _ = ask(&mut link, LogRange::From((10, 50)));
    }
}

#[test]
fn a_log_that_is_text_costs_one_request() {
    let mut link = Script::new(|calls: Vec<ReadCall>| serve("héllo\n".as_bytes(), &calls));
    ask(&mut link, LogRange::Tail(100)).expect("a slice");
    ask(&mut link, LogRange::From((0, 100))).expect("a slice");
    assert_eq!(link.requests, 2);
}

#[test]
fn a_cut_character_costs_a_few_requests() {
    let log = "€".repeat(10_000);
    let mut link = Script::new(|calls: Vec<ReadCall>| serve(log.as_bytes(), &calls));
    let slice = ask(&mut link, LogRange::Tail(16_384)).expect("a slice");
    assert_eq!(slice.bytes, log.as_bytes()[log.len() - 16_384..]);
    assert!(link.requests <= 3, "{} requests", link.requests);
}

#[test]
fn a_log_that_is_rotated_while_it_is_read_is_a_fault_and_not_a_mixture() {
    let mut log = b"caf\xe9 long enough".to_vec();
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        let reply = serve(&log, &calls);
        log.truncate(4);
        reply
    });
    assert_eq!(ask(&mut link, LogRange::Tail(100)).expect_err("a fault").code, "log.unreadable");
}

#[test]
fn channels_of_a_later_version_are_not_guessed_at() {
    let id = ProcessId { group: "g".to_owned(), name: "n".to_owned() };
    let mut link = Script::new(|_| panic!("nothing to ask"));
    let other = LogChannel::Other("audit".to_owned());
    assert_eq!(read(&mut link, &id, &other, &LogRange::Tail(1)).expect_err("a fault").code, "log.not_found");
}

#[test]
fn the_stream_of_a_log_has_a_path_that_means_this_process_alone() {
    let path = |group: &str, name: &str, channel| {
        follow(&ProcessId { group: group.to_owned(), name: name.to_owned() }, &channel).map(|request| request.path)
    };
    assert_eq!(path("g", "n", LogChannel::Stdout).as_deref(), Some("/logtail/g%3An/stdout"));
    let odd = path("a b", "xé?#", LogChannel::Stderr);
    assert_eq!(odd.as_deref(), Some("/logtail/a%20b%3Ax%C3%A9%3F%23/stderr"));
    assert_eq!(path("g", "a/b", LogChannel::Stdout), None);
    assert_eq!(path("g", "*", LogChannel::Stdout), None);
    assert_eq!(path("g", "n", LogChannel::Other("audit".to_owned())), None);
}

#[test]
fn the_nodes_own_log_begins_with_a_whole_character() {
    let log = "0123€56789".as_bytes();
    for bytes_max in 4..=20_usize {
        let mut link = Script::new(|calls: Vec<ReadCall>| {
            let [(method, parameters)] = calls.as_slice() else { panic!("one call was expected") };
            assert_eq!((method.as_str(), parameters[1].as_str()), ("supervisor.readLog", "0"));
            let from = (log.len() as i64 + parameters[0].parse::<i64>().expect("a number")).max(0);
            let undecodable = "FAILED: <class 'UnicodeDecodeError'>:'utf-8' codec can't decode byte 0x82 in position 0";
            let said = std::str::from_utf8(&log[from as usize..]).map_or_else(|_| fault(30, undecodable), string);
            answers(&[said])
        });
        let read = own(&mut link, bytes_max as u32).expect("readable");
        assert!(log.ends_with(&read) && read.len() + 3 > bytes_max.min(log.len()), "{bytes_max}: {read:?}");
    }
    let mut link = Script::new(|_: Vec<ReadCall>| answers(&[fault(20, "NO_FILE: /var/log/s.log")]));
    assert_eq!(own(&mut link, 100).expect_err("none").code, "log.not_found");
}
