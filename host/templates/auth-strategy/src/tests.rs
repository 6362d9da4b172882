//! The strategy as an ordinary library. `vectors.json` tests the component.

use super::*;

fn ask(credential: Credential) -> Verdict {
    let facts = RequestFacts { peer_address: "::1".to_owned(), request_id: "r".to_owned(), extra: Vec::new() };
    Strategy::authenticate(credential, facts).expect("a verdict")
}

#[test]
fn the_known_token_is_a_viewer_and_another_is_nobody() {
    let Verdict::Granted(identity) = ask(Credential::Bearer(KNOWN.to_owned())) else { panic!("granted") };
    assert_eq!(identity.source, IdentitySource::External("viewer".to_owned()));
    assert_eq!(ask(Credential::Bearer("machine-x".to_owned())), Verdict::Denied("unknown_token".to_owned()));
}

#[test]
fn what_is_not_ours_is_left_to_others() {
    for other in [
        Credential::Bearer("eyJhbGciOi".to_owned()),
        Credential::Password(("ann".to_owned(), KNOWN.to_owned())),
        Credential::Other("certificate".to_owned()),
    ] {
        assert_eq!(ask(other), Verdict::NotMine);
    }
}
