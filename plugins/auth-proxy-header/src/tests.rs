use super::*;
use plugin_sdk::strategy::IdentitySource;
use proptest::prelude::*;

const SETTINGS: &str = r#"{"trusted": ["10.0.0.0/8", "2001:db8::/32"], "role": "viewer"}"#;
const GROUPS: &str = r#"{"trusted": ["10.0.0.0/8"], "name_header": "remote-user", "role_header": "remote-groups",
    "roles": {"ops": "operator", "root": "admin"}}"#;

fn facts(peer: &str) -> RequestFacts {
    RequestFacts { peer_address: peer.to_owned(), request_id: "r1".to_owned(), extra: Vec::new() }
}

fn judged(settings: &str, peer: &str, headers: &[(&str, &str)]) -> Verdict {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    judge(settings, Credential::Headers(headers), &facts(peer)).expect("a verdict")
}

fn granted(verdict: Verdict) -> (String, String) {
    let Verdict::Granted(identity) = verdict else { panic!("expected a yes, got {verdict:?}") };
    let IdentitySource::External(role) = identity.source else { panic!("{identity:?}") };
    (identity.name, role)
}

fn is(name: &str, role: &str) -> (String, String) {
    (name.to_owned(), role.to_owned())
}

#[test]
fn a_trusted_peer_names_people() {
    for peer in ["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3", "2001:db8:1::7"] {
        assert_eq!(granted(judged(SETTINGS, peer, &[("x-remote-user", "ada")])), is("ada", "viewer"), "{peer}");
    }
}

#[test]
fn an_untrusted_peer_that_names_people_is_refused() {
    let peers =
        ["11.0.0.1", "9.255.255.255", "127.0.0.1", "::1", "::ffff:11.0.0.1", "2001:db9::1", "", "unix", "10.0.0"];
    for peer in peers {
        assert_eq!(judged(SETTINGS, peer, &[("x-remote-user", "ada")]), denied("untrusted_peer"), "{peer}");
    }
    assert_eq!(judged(GROUPS, "11.0.0.1", &[("remote-groups", "root")]), denied("untrusted_peer"));
}

#[test]
fn what_headers_say_about_addresses_does_not_count() {
    let headers = [("x-remote-user", "ada"), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")];
    assert_eq!(judged(SETTINGS, "11.0.0.1", &headers), denied("untrusted_peer"));
}

#[test]
fn a_header_that_is_there_twice_is_refused() {
    let twice = [("x-remote-user", "ada"), ("x-remote-user", "ada")];
    assert_eq!(judged(SETTINGS, "10.0.0.1", &twice), denied("repeated_header"));
    let case = [("x-remote-user", "ada"), ("X-Remote-User", "eve")];
    assert_eq!(judged(SETTINGS, "10.0.0.1", &case), denied("repeated_header"));
    let groups = [("remote-user", "ada"), ("remote-groups", "ops"), ("remote-groups", "root")];
    assert_eq!(judged(GROUPS, "10.0.0.1", &groups), denied("repeated_header"));
}

#[test]
fn a_value_that_is_no_name_is_refused() {
    for name in ["", " ", "a\tb", "a\u{7f}", " ada", &"a".repeat(256)] {
        assert_eq!(judged(SETTINGS, "10.0.0.1", &[("x-remote-user", name)]), denied("bad_name"), "{name:?}");
    }
}

#[test]
fn groups_give_the_highest_of_their_roles() {
    let with_groups = |groups: &str| judged(GROUPS, "10.0.0.1", &[("remote-user", "ada"), ("remote-groups", groups)]);
    assert_eq!(granted(with_groups("staff, ops")), is("ada", "operator"));
    assert_eq!(granted(with_groups("ops,root")), is("ada", "admin"));
    assert_eq!(with_groups("staff"), denied("no_role"));
    assert_eq!(with_groups("OPS"), denied("no_role"));
    assert_eq!(judged(GROUPS, "10.0.0.1", &[("remote-user", "ada")]), denied("no_role"));
}

#[test]
fn what_names_nobody_is_left_to_others() {
    assert_eq!(judged(SETTINGS, "10.0.0.1", &[]), Verdict::NotMine);
    assert_eq!(judged(SETTINGS, "10.0.0.1", &[("x-other", "ada")]), Verdict::NotMine);
    assert_eq!(judged(GROUPS, "10.0.0.1", &[("remote-groups", "ops")]), Verdict::NotMine);
    for other in [
        Credential::Bearer("ada".to_owned()),
        Credential::Password(("ada".to_owned(), "x".to_owned())),
        Credential::Other("headers".to_owned()),
    ] {
        assert_eq!(judge(SETTINGS, other, &facts("10.0.0.1")).expect("a verdict"), Verdict::NotMine);
    }
}

#[test]
fn it_asks_for_the_headers_that_are_set_and_no_others() {
    assert_eq!(describe(SETTINGS).expect("a strategy").request_headers, ["x-remote-user"]);
    assert_eq!(describe(GROUPS).expect("a strategy").request_headers, ["remote-user", "remote-groups"]);
    assert_eq!(describe(GROUPS).expect("a strategy").credentials, ["headers"]);
}

#[test]
fn settings_that_make_no_sense_are_faults_that_name_the_key() {
    for (settings, words) in [
        ("{}", "missing field `trusted`"),
        (r#"{"trusted":[],"role":"viewer"}"#, "`trusted`: 0 networks are named; expected 1 to 64"),
        (r#"{"trusted":["10.0.0.1"],"role":"viewer"}"#, "`trusted[0]`: "),
        (r#"{"trusted":["0.0.0.0/0"],"role":"viewer"}"#, "`trusted[0]`: it trusts everybody"),
        (r#"{"trusted":["::ffff:10.0.0.0/104"],"role":"viewer"}"#, "expected the IPv4 network itself"),
        (r#"{"trusted":["10.0.0.0/8"]}"#, "`role`: nobody would get a role"),
        (r#"{"trusted":["10.0.0.0/8"],"role":"root"}"#, "`role`: unknown variant `root`"),
        (r#"{"trusted":["10.0.0.0/8"],"role":"viewer","name_header":"X-User"}"#, "`name_header`: "),
        (r#"{"trusted":["10.0.0.0/8"],"role":"viewer","name_header":"cookie"}"#, "`name_header`: no strategy sees"),
        (r#"{"trusted":["10.0.0.0/8"],"role_header":"x-remote-user","roles":{"a":"viewer"}}"#, "`role_header`: it is"),
        (r#"{"trusted":["10.0.0.0/8"],"role_header":"x-groups"}"#, "`roles`: it is empty"),
        (r#"{"trusted":["10.0.0.0/8"],"role":"viewer","roles":{"a":"viewer"}}"#, "`roles`: nothing uses it"),
        (r#"{"trusted":["10.0.0.0/8"],"role":"viewer","header":"x"}"#, "unknown field `header`"),
    ] {
        let fault = describe(settings).expect_err(settings);
        assert_eq!(fault.code, "settings.invalid");
        assert!(fault.message.contains(words), "{settings}: {}", fault.message);
    }
}

proptest! {
    #[test]
    fn nobody_but_a_trusted_peer_names_anybody(address in any::<u32>(), name in ".{0,20}") {
        let address = std::net::Ipv4Addr::from_bits(address);
        for peer in [address.to_string(), address.to_ipv6_mapped().to_string()] {
            let verdict = judged(SETTINGS, &peer, &[("x-remote-user", &name)]);
            prop_assert!(address.octets()[0] == 10 || verdict == denied("untrusted_peer"));
        }
    }
}
