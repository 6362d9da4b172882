use super::*;
use proptest::prelude::*;

fn codes(pointer: &str, value: &str) -> Vec<String> {
    let field = Field { pointer: pointer.to_owned(), value: value.to_owned() };
    violations(&field).into_iter().map(|violation| violation.code).collect()
}

#[test]
fn legal_odd_process_names_pass() {
    for name in [
        "web:web",
        "web farm:näme/1:b",
        "a:<&>\"'",
        "g:DROP TABLE users; --",
        "g:..",
        "g:../../etc",
        "g:a\\b",
        "日本:工程",
        "g:all",
        "g:%00",
        "g:*x",
        "g:می\u{200c}خواهم",
        "g:👩\u{200d}💻",
        "g: x ",
        "g:100%",
        "g:{}[]$`",
    ] {
        assert_eq!(codes("/path/process", name), [""; 0], "{name:?}");
    }
}

#[test]
fn a_process_needs_group_and_name_and_no_wildcard() {
    assert_eq!(codes("/path/process", "bare"), ["no_group"]);
    assert_eq!(codes("/path/process", ""), ["no_group"]);
    assert_eq!(codes("/path/process", ":x"), ["empty"]);
    assert_eq!(codes("/path/process", "x:"), ["empty"]);
    assert_eq!(codes("/path/process", ":"), ["empty", "empty"]);
    assert_eq!(codes("/path/process", "web:*"), ["wildcard"]);
    assert_eq!(codes("/path/process", &format!("g:{}", "x".repeat(255))), [""; 0]);
    assert_eq!(codes("/path/process", &format!("g:{}", "x".repeat(256))), ["too_long"]);
}

#[test]
fn a_node_name_never_walks_through_folders() {
    assert_eq!(codes("/path/node", "web-1.eu"), [""; 0]);
    assert_eq!(codes("/path/node", ".."), ["path_segment"]);
    assert_eq!(codes("/path/node", "../etc"), ["path_segment", "path_separator"]);
    assert_eq!(codes("/path/node", "..\\x"), ["path_segment", "path_separator"]);
    assert_eq!(codes("/path/node", "a\\b"), ["path_separator"]);
    assert_eq!(codes("/path/node", "a\0b"), ["control_character"]);
    assert_eq!(codes("/path/node", ""), ["empty"]);
    assert_eq!(codes("/path/node", &"n".repeat(65)), ["too_long"]);
}

#[test]
fn characters_that_deceive_are_named_by_number() {
    for (value, code, number) in [
        ("a\nb", "control_character", "U+000A"),
        ("a\u{7f}", "control_character", "U+007F"),
        ("a\u{85}", "control_character", "U+0085"),
        ("a\u{200b}b", "invisible_character", "U+200B"),
        ("\u{feff}ada", "invisible_character", "U+FEFF"),
        ("ad\u{200d}a", "invisible_character", "U+200D"),
        ("a\u{e0041}", "invisible_character", "U+E0041"),
    ] {
        let field = Field { pointer: "/body/username".to_owned(), value: value.to_owned() };
        let [violation] = &violations(&field)[..] else { panic!("one violation for {value:?}") };
        assert_eq!(violation.code, code);
        assert!(violation.message.contains(number), "{}", violation.message);
    }
}

#[test]
fn a_direction_that_is_turned_must_be_turned_back() {
    assert_eq!(codes("/path/process", "g:\u{202e}gnp.exe"), ["bidi_override"]);
    assert_eq!(codes("/path/process", "g:a\u{2069}"), ["bidi_override"]);
    assert_eq!(codes("/path/process", "g:\u{2067}\u{202e}x\u{2069}\u{202c}"), ["bidi_override"]);
    assert_eq!(codes("/path/process", "g:\u{2067}שלום\u{2069}"), [""; 0]);
}

#[test]
fn numbers_stay_in_their_bounds() {
    for (pointer, good, bad) in [
        (
            "/query/tail",
            &["1", "1048576"][..],
            &["0", "1048577", "-1", "x", "", " 1", "1.0", "99999999999999999999"][..],
        ),
        ("/query/offset", &["0", "9223372036854775807"], &["-1", "9223372036854775808", "0x10"]),
        ("/query/bytes", &["1"], &["0", "01", "+1"]),
        ("/body/wait_ms", &["0", "15000", "60000"], &["60001", "soon"]),
        ("/body/password/length", &["1", "1024"], &["0", "1025", "long"]),
        ("/body/token/length", &["64"], &["0", "513"]),
    ] {
        for value in good {
            assert_eq!(codes(pointer, value), [""; 0], "{pointer} {value}");
        }
        for value in bad {
            assert_eq!(codes(pointer, value).len(), 1, "{pointer} {value}");
        }
    }
}

#[test]
fn a_reason_to_override_is_a_short_plain_text() {
    assert_eq!(codes("/body/override", "hotfix 42: «Zahlung» hängt"), [""; 0]);
    assert_eq!(codes("/body/override", ""), ["empty"]);
    assert_eq!(codes("/body/override", &"x".repeat(257)), ["too_long"]);
    assert_eq!(codes("/body/override", "a\nforged line"), ["control_character"]);
}

#[test]
fn words_are_taken_literally() {
    assert_eq!(codes("/path/channel", "stdout"), [""; 0]);
    assert_eq!(codes("/path/channel", "STDOUT"), ["unknown_word"]);
    assert_eq!(codes("/query/include", "processes"), [""; 0]);
    assert_eq!(codes("/query/include", ""), ["unknown_word"]);
}

#[test]
fn unknown_places_are_held_to_the_general_rules() {
    assert_eq!(codes("/query/anything", ""), [""; 0]);
    assert_eq!(codes("/path/anything", ""), ["empty"]);
    assert_eq!(codes("/body/anything", "a\u{1b}[31m"), ["control_character"]);
    assert_eq!(codes("/body/anything", &"x".repeat(4097)), ["too_long"]);
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let value = format!("../{}\0\u{200b}\u{202e}", "x".repeat(64));
    let expected =
        ["too_long", "control_character", "invisible_character", "bidi_override", "path_segment", "path_separator"];
    assert_eq!(codes("/path/node", &value), expected);
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_judge(pointer in "(/path/(node|process|channel)|/query/tail|/body/[a-z]{1,8}|\\PC*)", value in proptest::collection::vec(any::<char>(), 0..60)) {
        let value = String::from_iter(value);
        for violation in violations(&Field { pointer: pointer.clone(), value }) {
            prop_assert_eq!(&violation.pointer, &pointer);
            prop_assert!(!violation.code.is_empty() && violation.code.len() <= 64);
            prop_assert!(violation.message.len() <= 1024);
            prop_assert!(!violation.message.chars().any(char::is_control), "a message never repeats what it refuses");
        }
    }

    #[test]
    fn printable_ascii_process_names_pass(group in "[ -9;-~]{1,255}", name in "[ -~]{1,255}") {
        prop_assume!(name != "*");
        prop_assert_eq!(codes("/path/process", &format!("{group}:{name}")), [""; 0]);
    }

    #[test]
    fn a_control_character_is_found_wherever_it_stands(before in "[a-z]{0,20}", after in "[a-z]{0,20}", at in 0u32..33) {
        let control = char::from_u32(if at < 32 { at } else { 0x7f }).expect("a character");
        let value = format!("{before}{control}{after}");
        for pointer in ["/path/node", "/body/username", "/query/other"] {
            prop_assert!(codes(pointer, &value).contains(&"control_character".to_owned()));
        }
    }

    #[test]
    fn numbers_agree_with_a_plain_comparison(number in any::<u64>()) {
        let is_good = codes("/query/tail", &number.to_string()).is_empty();
        prop_assert_eq!(is_good, (1..=1_048_576).contains(&number));
    }

    #[test]
    fn node_names_of_the_configuration_pass(name in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
        prop_assert_eq!(codes("/path/node", &name), [""; 0]);
    }
}
