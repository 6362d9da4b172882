//! The passwords of managed nodes that the store keeps: which is given, which stays, which is missing.

use crate::config::{ConfigFault, KEPT_PASSWORD_BYTES_MAX, ManagedNode, Snapshot};
use crate::model::Secret;
use crate::reload::{NodeWish, PasswordWish, ReloadError};
use crate::store::{SecretKind, SecretPlace, Store, StoreError};
use std::collections::BTreeMap;

/// Passwords by the node's name.
pub(super) type Passwords = BTreeMap<String, Secret>;

/// Where the store keeps a node's password.
pub(super) fn place(node: &ManagedNode) -> SecretPlace {
    SecretPlace { kind: SecretKind::NodePassword, name: node.name.clone(), bound_to: node.bound() }
}

/// The node as it is to be managed, and the password if one is given. `before` is the node that it replaces.
///
/// # Errors
/// [`ReloadError::Faulty`] at `password`; the value is never shown.
pub(super) fn settled(
    wish: NodeWish,
    before: Option<&ManagedNode>,
    can_seal: bool,
) -> Result<(ManagedNode, Option<Secret>), ReloadError> {
    let NodeWish { mut node, password } = wish;
    let given = match password {
        PasswordWish::Keep => {
            let has_other = node.password_env.is_some() || node.password_file.is_some();
            let stays = before.filter(|before| before.has_kept_password && node.username.is_some() && !has_other);
            if stays.is_some_and(|before| before.bound() != node.bound()) {
                let problem = "it was given for another address or adapter, to which alone it is sent";
                return Err(fault(&node, problem, "expected the password of the new one"));
            }
            node.has_kept_password = stays.is_some();
            None
        }
        PasswordWish::Remove => {
            node.has_kept_password = false;
            None
        }
        PasswordWish::Set(password) => {
            if !can_seal {
                let advice = "expected a server with a key: make one with `omnivisor secrets new-key FILE`, name it as \
                              `key_file` in `[storage]` and restart; or `password_file` or `password_env` here";
                return Err(fault(&node, "the server has no key to seal it with", advice));
            }
            if password.reveal().is_empty() || password.reveal().len() > KEPT_PASSWORD_BYTES_MAX {
                let advice = format!("expected 1 to {KEPT_PASSWORD_BYTES_MAX} bytes; `null` removes a password");
                return Err(fault(&node, "it is empty or too long", &advice));
            }
            node.has_kept_password = true;
            Some(password)
        }
    };
    Ok((node, given))
}

fn fault(node: &ManagedNode, problem: &str, advice: &str) -> ReloadError {
    ReloadError::Faulty(vec![ConfigFault {
        line: None,
        key: format!("managed.{}.password", node.name),
        problem: problem.to_owned(),
        advice: advice.to_owned(),
    }])
}

/// The passwords of nodes that are to be managed: what is in force where it is of the same address, and what the store
/// keeps otherwise. The second are the names of those whose password cannot be had, with the reason.
///
/// # Errors
/// [`ReloadError::Store`].
pub(super) fn known(
    managed: &[ManagedNode],
    old: Option<&Snapshot>,
    store: &Store,
) -> Result<(Passwords, Vec<(String, String)>), StoreError> {
    let (mut passwords, mut missing) = (Passwords::new(), Vec::new());
    let in_force = old.map(in_force).unwrap_or_default();
    for node in managed.iter().filter(|node| node.has_kept_password) {
        let place = place(node);
        let stays = in_force.get(&node.name).filter(|(bound, _)| *bound == place.bound_to);
        let password = match stays {
            Some((_, password)) => Ok(password.clone()),
            None => store.secret(&place)?,
        };
        match password {
            Ok(password) => drop(passwords.insert(node.name.clone(), password)),
            Err(gap) => missing.push((node.name.clone(), gap.to_string())),
        }
    }
    Ok((passwords, missing))
}

/// What is in force: by name what it is bound to, and the password.
fn in_force(old: &Snapshot) -> BTreeMap<String, (String, Secret)> {
    let bound: BTreeMap<&str, String> = old
        .managed
        .iter()
        .filter(|node| node.has_kept_password)
        .map(|node| (node.name.as_str(), node.bound()))
        .collect();
    let passwords = old.config.nodes.iter().filter_map(|node| {
        let bound = bound.get(node.name.as_str())?;
        Some((node.name.to_string(), (bound.clone(), node.login.as_ref()?.password.clone())))
    });
    passwords.collect()
}

/// All that is in force, for the store to keep again: it is not known what it has.
pub(super) fn all(snapshot: &Snapshot) -> Vec<(SecretPlace, Secret)> {
    let passwords = in_force(snapshot);
    let places = snapshot.managed.iter().filter(|node| node.has_kept_password).map(place);
    places.filter_map(|place| Some((place.clone(), passwords.get(&place.name)?.1.clone()))).collect()
}
