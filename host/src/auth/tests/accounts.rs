//! Who may change whom, and what follows for those who are connected.

use super::requests::bearer;
use super::*;
use crate::auth::{AccessEdit, NewAccount};
use crate::model::{Actions, NodeId, Rights, Scope};
use crate::store::StoreError;
use proptest::prelude::{
    ProptestConfig, Strategy, TestCaseError, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

const NEW: &str = "another good password";

fn grants(of: &[(&str, &str)]) -> Vec<RoleGrant> {
    of.iter().map(|(role, scope)| RoleGrant { role: (*role).into(), scope: scope.parse().unwrap() }).collect()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

impl House {
    fn principal(&self, name: &str) -> Principal {
        let (account, rights) = self.auth.inner().enabled_account(name).unwrap().unwrap();
        Principal::new(account.name, "auth-local".into(), false, rights, vec![])
    }

    fn revision(&self, name: &str) -> u64 {
        self.store.account(name).unwrap().unwrap().revision
    }

    async fn set_grants(&self, by: &str, name: &str, wish: &[(&str, &str)]) -> Result<Account, AuthRefusal> {
        let which = (name, self.revision(name));
        self.auth.set_grants(&self.principal(by), which, grants(wish), &facts(1), at(1)).await
    }

    async fn recognised(&self, login: &Login) -> Recognised {
        self.auth.recognise(bearer(login.token.reveal()), &facts(1), at(1)).await.unwrap()
    }
}

#[tokio::test]
async fn nobody_gives_takes_or_changes_what_is_beyond_his_own_rights() {
    let house = House::new().await;
    let exceeds = |result: Result<Account, AuthRefusal>| matches!(result, Err(AuthRefusal::Exceeds { .. }));
    house.set_grants("ann", "bob", &[("operator", "environment:lab"), ("viewer", "everything")]).await.unwrap();
    assert!(exceeds(house.set_grants("bob", "bob", &[("admin", "everything")]).await), "himself");
    assert!(exceeds(house.set_grants("bob", "bob", &[("operator", "everything")]).await));
    assert!(exceeds(house.set_grants("bob", "bob", &[("operator", "node:a")]).await), "a node that may be there today");
    assert!(exceeds(house.set_grants("bob", "ann", &[("viewer", "everything")]).await), "who may do more");
    let bob = house.principal("bob");
    let edit = AccessEdit { password: Some(secret(NEW)), is_disabled: None };
    let which = ("ann", house.revision("ann"));
    assert!(exceeds(house.auth.set_access(&bob, which, edit, &facts(1), at(1)).await), "a password is the account");
    let removed = house.auth.remove_account(&bob, which, &facts(1), at(1)).await;
    assert!(matches!(removed, Err(AuthRefusal::Exceeds { .. })));
    let ended = house.auth.end_sessions_of(&bob, "ann", None, &facts(1), at(1)).await;
    assert!(matches!(ended, Err(AuthRefusal::Exceeds { .. })));
    let more = [Action::ProcessControl].into_iter().collect();
    let made = house.auth.put_role(&bob, ("deploy", None), more, &facts(1), at(1)).await;
    assert!(matches!(made, Err(AuthRefusal::Exceeds { .. })), "a role may be granted over everything");
    let limited =
        Principal::new("ann".into(), "s".into(), false, Rights::of(Role::Admin), vec!["account.manage".into()]);
    let which = ("bob", house.revision("bob"));
    let refused = house.auth.set_grants(&limited, which, grants(&[("viewer", "everything")]), &facts(1), at(1)).await;
    assert!(exceeds(refused), "a limited credential gives no more than it has");
    house.set_grants("bob", "eve", &[]).await.expect_err("she was an operator over everything");
    house.set_grants("ann", "eve", &[]).await.unwrap();
    house.set_grants("bob", "eve", &[("operator", "environment:lab")]).await.unwrap();
}

#[tokio::test]
async fn built_in_roles_and_those_that_are_granted_stay() {
    let house = House::new().await;
    let ann = house.principal("ann");
    for name in ["admin", "operator", "viewer"] {
        let put = house.auth.put_role(&ann, (name, None), Actions::default(), &facts(1), at(1)).await;
        assert!(matches!(put, Err(AuthRefusal::BuiltIn { .. })), "{name}");
        let removed = house.auth.remove_role(&ann, (name, 1), &facts(1), at(1)).await;
        assert!(matches!(removed, Err(AuthRefusal::BuiltIn { .. })), "{name}");
    }
    let reads = [Action::NodeRead, Action::LogRead].into_iter().collect::<Actions>();
    let made = house.auth.put_role(&ann, ("logs", None), reads, &facts(1), at(1)).await.unwrap();
    assert_eq!((made.actions, made.revision.is_some()), (reads, true));
    house.set_grants("ann", "bob", &[("logs", "node:a")]).await.unwrap();
    assert_eq!(
        house.principal("bob").rights.iter().collect::<Vec<_>>(),
        [(&"node:a".parse::<Scope>().unwrap(), reads)]
    );
    let revision = made.revision.unwrap();
    let removed = house.auth.remove_role(&ann, ("logs", revision), &facts(1), at(1)).await;
    assert!(matches!(removed, Err(AuthRefusal::Store(StoreError::RoleInUse { accounts: 1, .. }))));
    let fewer = [Action::LogRead].into_iter().collect::<Actions>();
    house.auth.put_role(&ann, ("logs", Some(revision)), fewer, &facts(1), at(1)).await.unwrap();
    assert_eq!(house.principal("bob").rights.iter().next().unwrap().1, fewer, "looked up each time");
}

#[tokio::test]
async fn ones_own_password_is_changed_against_the_old_one_and_ends_the_other_sessions() {
    let house = House::new().await;
    let (here, there) = (house.login("bob", PASSWORD).await.unwrap(), house.login("bob", PASSWORD).await.unwrap());
    let who = house.recognised(&here).await;
    let change = async |old: &str, new: &str| {
        house.auth.set_own_password(&who, (secret(old), secret(new)), &facts(1), at(1)).await
    };
    assert!(matches!(change("wrong", NEW).await, Err(AuthRefusal::Failed)));
    assert!(matches!(change(PASSWORD, "short").await, Err(AuthRefusal::Account(_))));
    assert!(house.bearer(&there, 1).is_ok(), "nothing has happened yet");
    change(PASSWORD, NEW).await.unwrap();
    assert!(matches!(house.bearer(&there, 2), Err(AuthRefusal::Required)));
    assert!(there.session.ended.is_cancelled() && !here.session.ended.is_cancelled());
    assert!(house.bearer(&here, 2).is_ok());
    assert!(house.login("bob", PASSWORD).await.is_err() && house.login("bob", NEW).await.is_ok());
    let newest = house.audit().await.into_iter().find(|entry| entry.record.what == "account.password").unwrap().record;
    assert_eq!((newest.who.as_str(), newest.target.as_str(), newest.outcome), ("bob", "bob", AuditOutcome::Done));
    let house = house.restarted().await;
    assert!(house.bearer(&here, 3).is_ok() && house.bearer(&there, 3).is_err(), "as the store has it too");
}

#[tokio::test]
async fn a_login_with_a_password_that_was_changed_meanwhile_begins_no_session() {
    let house = House::new().await;
    let judged = house.store.account("bob").unwrap().unwrap().epoch;
    let edit = AccessEdit { password: Some(secret(NEW)), is_disabled: None };
    let which = ("bob", house.revision("bob"));
    house.auth.set_access(&house.principal("ann"), which, edit, &facts(1), at(1)).await.unwrap();
    assert_ne!(house.store.account("bob").unwrap().unwrap().epoch, judged);
    let old = Session {
        account: "bob".into(),
        strategy: "auth-local".into(),
        external: None,
        epoch: judged,
        scopes: vec![],
        created: at(0),
        last_used: at(0),
        expires: at(1_000),
    };
    let token = token::new().unwrap();
    let id = SessionId(token::digest(token.reveal()).unwrap());
    house.store.put_session(id, old, record("session.login")).await.unwrap();
    let offer = bearer(token.reveal());
    assert!(matches!(house.auth.recognise(offer, &facts(1), at(1)).await, Err(AuthRefusal::Required)));
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_and_all_together() {
    let house = House::new().await;
    let (here, there) = (house.login("bob", PASSWORD).await.unwrap(), house.login("bob", PASSWORD).await.unwrap());
    let ann = house.login("ann", PASSWORD).await.unwrap();
    let who = house.recognised(&here).await;
    let own = house.auth.own_sessions(&who, at(1)).await.unwrap();
    assert_eq!((own.len(), own.iter().filter(|session| session.is_own).count()), (2, 1));
    let other = own.iter().find(|session| !session.is_own).unwrap().id.clone();
    let of_ann = ann.session.session_id.to_string();
    let end = async |id: Option<&str>| house.auth.end_own_sessions(&who, id, &facts(1), at(2)).await;
    assert!(matches!(end(Some(&of_ann)).await, Err(AuthRefusal::NoSuchSession)), "somebody else's");
    assert_eq!(end(Some(&other)).await.unwrap(), 1);
    assert!(house.bearer(&there, 2).is_err() && house.bearer(&here, 2).is_ok());
    assert!(matches!(end(Some(&other)).await, Err(AuthRefusal::NoSuchSession)));
    let ended = house.auth.end_sessions_of(&house.principal("ann"), "bob", None, &facts(1), at(2)).await;
    assert_eq!(ended.unwrap(), 1);
    assert!(house.bearer(&here, 2).is_err() && house.bearer(&ann, 2).is_ok());
    let limited = Recognised {
        principal: Principal::new("bob".into(), "s".into(), false, Rights::of(Role::Viewer), vec!["node.read".into()]),
        ..who
    };
    assert!(matches!(house.auth.own_sessions(&limited, at(1)).await, Err(AuthRefusal::Limited)));
}

#[tokio::test]
async fn a_changed_grant_and_a_node_that_moves_change_what_connections_allow() {
    let house = House::new().await;
    let environments = |of: &[(&str, &str)]| {
        let nodes =
            of.iter().map(|(node, environment)| (NodeId::parse(node).unwrap(), Some((*environment).to_owned())));
        house.environments.send_replace(Arc::new(nodes.collect()));
    };
    environments(&[("a", "prod"), ("b", "lab")]);
    let bob = house.login("bob", PASSWORD).await.unwrap();
    let watch = house.auth.watch(&house.recognised(&bob).await, &facts(1), at(1));
    let places = || watch.grant.allowance().places("node.read").map(ToString::to_string).collect::<Vec<_>>();
    assert!(watch.grant.allows("node.read"));
    house.set_grants("ann", "bob", &[("viewer", "environment:prod")]).await.unwrap();
    assert_eq!((watch.grant.allows("node.read"), places()), (false, vec!["a/".to_owned()]), "before the call returns");
    assert!(watch.grant.allows("feed.read") && !watch.grant.allows("health.read"));
    environments(&[("a", "lab"), ("b", "prod")]);
    house.auth.inner().keep_watch(true, at(2)).await;
    assert_eq!(places(), ["b/"]);
    house.set_grants("ann", "bob", &[]).await.unwrap();
    assert!(!watch.grant.allows("feed.read") && places().is_empty());
    assert_eq!(watch.grant.ended(), None, "the feed itself ends it, for it may no longer be read");
    let edit = AccessEdit { password: None, is_disabled: Some(true) };
    let which = ("bob", house.revision("bob"));
    house.auth.set_access(&house.principal("ann"), which, edit, &facts(1), at(2)).await.unwrap();
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Revoked));
}

#[tokio::test]
async fn a_new_account_may_do_what_it_was_granted_and_nothing_without() {
    let house = House::new().await;
    let wish = |name: &str, of: &[(&str, &str)]| NewAccount {
        name: name.into(),
        password: secret(NEW),
        grants: grants(of),
        is_disabled: false,
    };
    let ann = house.principal("ann");
    let create = async |wish: NewAccount| house.auth.create_account(&ann, wish, &facts(1), at(1)).await;
    create(wish("zoe", &[])).await.unwrap();
    assert!(house.principal("zoe").rights.is_empty());
    let login = house.login("zoe", NEW).await.unwrap();
    assert_eq!((login.session.principal.role, login.session.principal.rights.is_empty()), (None, true));
    let taken = create(wish("zoe", &[])).await;
    assert!(matches!(taken, Err(AuthRefusal::Store(StoreError::AccountExists { .. }))));
    let unknown = create(wish("max", &[("deploy", "everything")])).await;
    assert!(matches!(unknown, Err(AuthRefusal::Store(StoreError::NoRole { .. }))), "no grant of what is not there");
    create(wish("max", &[("operator", "node:a"), ("viewer", "environment:lab")])).await.unwrap();
    let newest = house.newest().await;
    assert_eq!((newest.what.as_str(), newest.target.as_str()), ("account.create", "max"));
    assert_eq!(newest.reason, "operator node:a, viewer environment:lab");
}

/// One thing that somebody tries.
#[derive(Debug, Clone)]
enum Try {
    Grant { by: usize, of: usize, grants: Vec<(usize, usize)> },
    PutRole { by: usize, role: usize, actions: Vec<usize> },
    RemoveRole { by: usize, role: usize },
    Disable { by: usize, of: usize, is_disabled: bool },
    Remove { by: usize, of: usize },
}

const NAMES: [&str; 4] = ["root", "mia", "tom", "kim"];
const CUSTOM: [&str; 2] = ["one", "two"];
const ROLES: [&str; 5] = ["admin", "operator", "viewer", "one", "two"];
const SCOPES: [&str; 5] = ["everything", "environment:prod", "node:a", "node:b", "group:a/shop"];

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let who = 0..NAMES.len();
    let some = proptest::collection::vec((0..ROLES.len(), 0..SCOPES.len()), 0..3);
    let actions = proptest::collection::vec(0..Action::ALL.len(), 0..4);
    let one = prop_oneof![
        4 => (who.clone(), who.clone(), some).prop_map(|(by, of, grants)| Try::Grant { by, of, grants }),
        3 => (who.clone(), 0..CUSTOM.len(), actions).prop_map(|(by, role, actions)| Try::PutRole { by, role, actions }),
        1 => (who.clone(), 0..CUSTOM.len()).prop_map(|(by, role)| Try::RemoveRole { by, role }),
        1 => (who.clone(), who.clone(), any::<bool>())
            .prop_map(|(by, of, is_disabled)| Try::Disable { by, of, is_disabled }),
        1 => (who.clone(), who).prop_map(|(by, of)| Try::Remove { by, of }),
    ];
    proptest::collection::vec(one, 1..25)
}

/// Everybody's rights, of the disabled too.
fn all_rights(house: &House) -> Vec<Rights> {
    let of = |name: &&str| match house.store.account_with_roles(name).unwrap() {
        None => Rights::default(),
        Some((account, roles)) => (*crate::auth::accounts::rights_of(&account.grants, &roles)).clone(),
    };
    NAMES.iter().map(of).collect()
}

async fn attempt(house: &House, one: &Try) -> Option<Result<(), AuthRefusal>> {
    let (Try::Grant { by, .. }
    | Try::PutRole { by, .. }
    | Try::RemoveRole { by, .. }
    | Try::Disable { by, .. }
    | Try::Remove { by, .. }) = one;
    let (_, rights) = house.auth.inner().enabled_account(NAMES[*by]).unwrap().ok()?;
    let caller = Principal::new(NAMES[*by].into(), "s".into(), false, rights, vec![]);
    let (auth, facts) = (&house.auth, facts(1));
    let of = |at: usize| Some((NAMES[at], house.store.account(NAMES[at]).unwrap()?.revision));
    let revision = |role: usize| house.store.role(CUSTOM[role]).unwrap().map(|role| role.revision);
    Some(match one {
        Try::Grant { of: whom, grants: wish, .. } => {
            let wish: Vec<_> = wish.iter().map(|(role, scope)| (ROLES[*role], SCOPES[*scope])).collect();
            auth.set_grants(&caller, of(*whom)?, grants(&wish), &facts, at(1)).await.map(drop)
        }
        Try::PutRole { role, actions, .. } => {
            let actions = actions.iter().map(|at| Action::ALL[*at]).collect();
            let which = (CUSTOM[*role], revision(*role));
            auth.put_role(&caller, which, actions, &facts, at(1)).await.map(drop)
        }
        Try::RemoveRole { role, .. } => {
            auth.remove_role(&caller, (CUSTOM[*role], revision(*role)?), &facts, at(1)).await
        }
        Try::Disable { of: whom, is_disabled, .. } => {
            let edit = AccessEdit { password: None, is_disabled: Some(*is_disabled) };
            auth.set_access(&caller, of(*whom)?, edit, &facts, at(1)).await.map(drop)
        }
        Try::Remove { of: whom, .. } => auth.remove_account(&caller, of(*whom)?, &facts, at(1)).await,
    })
}

async fn no_sequence_raises(tries: Vec<Try>) -> Result<(), TestCaseError> {
    let house = House::empty();
    for (name, of) in NAMES.into_iter().zip([
        &[("admin", "everything")][..],
        &[("operator", "everything"), ("one", "environment:prod")],
        &[("admin", "environment:prod"), ("viewer", "everything")],
        &[],
    ]) {
        if name == "root" {
            for role in CUSTOM {
                let role =
                    crate::store::CustomRole { name: role.into(), actions: vec!["account.manage".into()], revision: 1 };
                house.store.put_role(role, None, None, record("role")).await.unwrap();
            }
        }
        let account = Account::new(name.into(), secret("$"), grants(of), at(0));
        house.store.create_account(account, None, record("account")).await.unwrap();
    }
    for one in &tries {
        let before = all_rights(&house);
        let by = match one {
            Try::Grant { by, .. } | Try::PutRole { by, .. } | Try::RemoveRole { by, .. } => *by,
            Try::Disable { by, .. } | Try::Remove { by, .. } => *by,
        };
        let Some(result) = attempt(&house, one).await else { continue };
        let after = all_rights(&house);
        if result.is_err() {
            prop_assert_eq!(&before, &after, "what was refused changes nothing: {:?}", one);
        }
        for (name, (was, is)) in NAMES.iter().zip(before.iter().zip(&after)) {
            let most =
                Rights::new(was.iter().chain(before[by].iter()).map(|(scope, actions)| (scope.clone(), actions)));
            prop_assert!(most.includes(is), "{} by {}: {:?} from {:?}", name, NAMES[by], is, was);
        }
        prop_assert!(after.iter().any(|rights| rights.role() == Some(Role::Admin)), "an administrator is left");
    }
    Ok(())
}

proptest! {
    // Each case opens a database of its own: an eighth of the usual number, 32 in CI and 2,500 in the long run.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_raises_anybody_above_whoever_makes_them(tries in tries()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(no_sequence_raises(tries))?;
    }
}
