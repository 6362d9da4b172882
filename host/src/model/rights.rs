use crate::model::{Action, Actions, Allowance, NameError, NodeId, Place, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a grant is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The server and all nodes.
    Everything,
    /// The nodes that the operator put into an environment, at each moment.
    Environment(String),
    /// One node and its processes.
    Node(NodeId),
    /// The processes of one group on one node.
    Group {
        /// The node.
        node: NodeId,
        /// The group's name.
        group: String,
    },
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It has another form.
    #[error("a scope is `everything`, `environment:NAME`, `node:NAME` or `group:NODE/GROUP`")]
    Form,
    /// The environment's or group's name is empty or too long.
    #[error("a name of 1 to {max} bytes without control characters is expected in a scope")]
    Length {
        /// Bytes allowed.
        max: usize,
    },
    /// The node's name breaks its rules.
    #[error(transparent)]
    Node(#[from] NameError),
}

impl Scope {
    /// Bytes that an environment's or a group's name may have.
    pub const NAME_BYTES_MAX: usize = 255;

    /// Whether a grant over this is one over that too, whatever becomes of the nodes.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Node(node), Self::Group { node: of, .. }) => node == of,
            // Which nodes are in an environment may change: it includes itself alone.
            (Self::Environment(_) | Self::Node(_) | Self::Group { .. }, _) => self == other,
        }
    }

    fn covers(&self, action: Action, object: Object<'_>) -> bool {
        match (self, object) {
            (Self::Everything, _) | (_, Object::Somewhere) => true,
            (_, Object::Server) => false,
            (
                Self::Environment(name),
                Object::Node { environment, .. } | Object::Part { environment, .. } | Object::Group { environment, .. },
            ) => environment == Some(name),
            (Self::Node(name), Object::Node { node, .. } | Object::Part { node, .. } | Object::Group { node, .. }) => {
                name == node
            }
            (Self::Group { node: on, .. }, Object::Part { node, .. }) => on == node,
            (Self::Group { node: on, group: name }, Object::Group { node, group, .. }) => on == node && name == group,
            // A process is shown with the node that it is on. Nothing else is had of the node.
            (Self::Group { node: on, .. }, Object::Node { node, .. }) => on == node && action == Action::NodeRead,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Environment(name) => write!(f, "environment:{name}"),
            Self::Node(node) => write!(f, "node:{node}"),
            Self::Group { node, group } => write!(f, "group:{node}/{group}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text == "everything" {
            return Ok(Self::Everything);
        }
        let named = |name: &str| {
            let is_proper = (1..=Self::NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
            if is_proper { Ok(name.to_owned()) } else { Err(ScopeError::Length { max: Self::NAME_BYTES_MAX }) }
        };
        match text.split_once(':').ok_or(ScopeError::Form)? {
            ("environment", name) => Ok(Self::Environment(named(name)?)),
            ("node", name) => Ok(Self::Node(NodeId::parse(name)?)),
            ("group", place) => {
                let (node, group) = place.split_once('/').ok_or(ScopeError::Form)?;
                Ok(Self::Group { node: NodeId::parse(node)?, group: named(group)? })
            }
            _ => Err(ScopeError::Form),
        }
    }
}

/// What an account is granted: a role, built in or not, over something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleGrant {
    /// The role's name.
    pub role: String,
    /// Over what.
    pub scope: Scope,
}

impl RoleGrant {
    /// A built-in role over everything.
    #[must_use]
    pub fn everywhere(role: Role) -> Self {
        Self { role: role.as_str().to_owned(), scope: Scope::Everything }
    }
}

/// What something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// The server itself.
    Server,
    /// No matter where: what is one's own, or a list of what one may see.
    Somewhere,
    /// A node as a whole.
    Node {
        /// Which.
        node: &'a NodeId,
        /// Its environment.
        environment: Option<&'a str>,
    },
    /// Whatever there is of a node: a list of what one may see there.
    Part {
        /// Which.
        node: &'a NodeId,
        /// Its environment.
        environment: Option<&'a str>,
    },
    /// A group of processes on a node, or one of them.
    Group {
        /// The node.
        node: &'a NodeId,
        /// Its environment.
        environment: Option<&'a str>,
        /// The group.
        group: &'a str,
    },
}

/// All that somebody may do: actions by scope. The union of what was granted, and nothing without a grant.
///
/// [`allows`] is the one place that decides by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rights(BTreeMap<Scope, Actions>);

/// Whether these rights allow an action on an object.
#[must_use]
pub fn allows(rights: &Rights, action: Action, object: Object<'_>) -> bool {
    rights.0.iter().any(|(scope, actions)| actions.contains(action) && scope.covers(action, object))
}

impl Rights {
    /// The union of grants. Those without an action are none.
    pub fn new(grants: impl IntoIterator<Item = (Scope, Actions)>) -> Self {
        let mut rights: BTreeMap<Scope, Actions> = BTreeMap::new();
        for (scope, actions) in grants.into_iter().filter(|(_, actions)| !actions.is_empty()) {
            let all = rights.entry(scope).or_default();
            *all = all.union(actions);
        }
        Self(rights)
    }

    /// A built-in role over everything.
    #[must_use]
    pub fn of(role: Role) -> Arc<Self> {
        Arc::new(Self::new([(Scope::Everything, role.actions())]))
    }

    /// The same, limited to these actions.
    #[must_use]
    pub fn narrowed(&self, to: Actions) -> Self {
        Self::new(self.0.iter().map(|(scope, actions)| (scope.clone(), actions.common(to))))
    }

    /// Whether whoever has these may do all that others may, whatever becomes of the nodes.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let covered = |scope: &Scope| {
            let over = self.0.iter().filter(|(mine, _)| mine.includes(scope));
            over.fold(Actions::default(), |all, (_, actions)| all.union(*actions))
        };
        other.0.iter().all(|(scope, actions)| covered(scope).includes(*actions))
    }

    /// Whether there is any right on an object: then whoever has these may know that it exists.
    #[must_use]
    pub fn touch(&self, object: Object<'_>) -> bool {
        // Some right on one of its groups tells that there is the node, too.
        let object = match object {
            Object::Node { node, environment } => Object::Part { node, environment },
            Object::Server | Object::Somewhere | Object::Part { .. } | Object::Group { .. } => object,
        };
        self.0.iter().any(|(scope, actions)| actions.iter().any(|action| scope.covers(action, object)))
    }

    /// The actions that are allowed on an object.
    #[must_use]
    pub fn on(&self, object: Object<'_>) -> Actions {
        Action::ALL.into_iter().filter(|action| allows(self, *action, object)).collect()
    }

    /// The highest built-in role that they have over everything.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        let all = self.on(Object::Server);
        Role::ALL.into_iter().rev().find(|role| all.includes(role.actions()))
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each scope with its actions.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, Actions)> {
        self.0.iter().map(|(scope, actions)| (scope, *actions))
    }

    /// What they come to while the nodes are in these environments, as connections keep it: every answer is that of
    /// [`allows`].
    #[must_use]
    pub fn allowance(&self, environments: &Environments) -> Allowance {
        let (mut nodes, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for scope in self.0.keys() {
            match scope {
                Scope::Everything => {}
                Scope::Environment(name) => {
                    nodes.extend(environments.iter().filter(|(_, of)| of.as_ref() == Some(name)).map(|(node, _)| node));
                }
                Scope::Node(node) => drop(nodes.insert(node)),
                Scope::Group { node, group } => {
                    nodes.insert(node);
                    groups.insert((node, group));
                }
            }
        }
        let mut allowance = Allowance::default();
        let of = |node| environments.get(node).and_then(Option::as_deref);
        for action in Action::ALL {
            if allows(self, action, action.anywhere()) {
                allowance.everywhere(action.as_str());
                continue;
            }
            for node in &nodes {
                if allows(self, action, Object::Node { node, environment: of(node) }) {
                    allowance.within(action.as_str(), Place { node: (*node).clone(), group: None });
                }
            }
            for (node, group) in &groups {
                if allows(self, action, Object::Group { node, environment: of(node), group }) {
                    allowance.within(action.as_str(), Place { node: (*node).clone(), group: Some((*group).clone()) });
                }
            }
        }
        allowance
    }
}

/// The nodes of the configuration, each with the environment that the operator put it into.
pub type Environments = BTreeMap<NodeId, Option<String>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ActionKind;
    use proptest::prelude::*;

    const NODES: [(&str, Option<&str>); 4] =
        [("a", Some("prod")), ("b", Some("prod")), ("c", Some("lab")), ("d", None)];
    const GROUPS: [&str; 2] = ["shop", "cron"];

    fn environments() -> Environments {
        NODES.map(|(node, of)| (NodeId::parse(node).unwrap(), of.map(str::to_owned))).into()
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        let node = || (0..NODES.len()).prop_map(|at| NodeId::parse(NODES[at].0).unwrap());
        let group =
            (node(), 0..GROUPS.len()).prop_map(|(node, at)| Scope::Group { node, group: GROUPS[at].to_owned() });
        prop_oneof![
            Just(Scope::Everything),
            prop_oneof![Just("prod"), Just("lab"), Just("none")].prop_map(|name| Scope::Environment(name.to_owned())),
            node().prop_map(Scope::Node),
            group,
        ]
    }

    fn actions() -> impl Strategy<Value = Actions> {
        let some = proptest::collection::vec(0..Action::ALL.len(), 0..4);
        prop_oneof![
            Just(Role::Viewer.actions()),
            Just(Role::Operator.actions()),
            some.prop_map(|some| some.into_iter().map(|at| Action::ALL[at]).collect()),
        ]
    }

    fn grants() -> impl Strategy<Value = Vec<(Scope, Actions)>> {
        proptest::collection::vec((scopes(), actions()), 0..6)
    }

    /// Everything that something can be done to in this fleet.
    fn objects(environments: &Environments) -> Vec<Object<'_>> {
        let mut all = vec![Object::Server, Object::Somewhere];
        for (node, environment) in environments {
            let environment = environment.as_deref();
            all.push(Object::Node { node, environment });
            all.push(Object::Part { node, environment });
            all.extend(GROUPS.map(|group| Object::Group { node, environment, group }));
        }
        all
    }

    /// The definition: one grant, spelled out.
    fn one_allows((scope, actions): &(Scope, Actions), action: Action, object: Object<'_>) -> bool {
        let of = |at: &NodeId| NODES.iter().find(|(node, _)| *node == at.as_str()).and_then(|(_, of)| *of);
        actions.contains(action)
            && match scope {
                Scope::Everything => true,
                Scope::Environment(name) => match object {
                    Object::Server => false,
                    Object::Somewhere => true,
                    Object::Node { node, .. } | Object::Part { node, .. } | Object::Group { node, .. } => {
                        of(node) == Some(name)
                    }
                },
                Scope::Node(wanted) => match object {
                    Object::Server => false,
                    Object::Somewhere => true,
                    Object::Node { node, .. } | Object::Part { node, .. } | Object::Group { node, .. } => {
                        node == wanted
                    }
                },
                Scope::Group { node: on, group: wanted } => match object {
                    Object::Server => false,
                    Object::Somewhere => true,
                    Object::Node { node, .. } => node == on && action == Action::NodeRead,
                    Object::Part { node, .. } => node == on,
                    Object::Group { node, group, .. } => node == on && group == wanted,
                },
            }
    }

    proptest! {
        #[test]
        fn rights_are_the_union_of_the_grants_and_nothing_else(grants in grants()) {
            let (rights, environments) = (Rights::new(grants.clone()), environments());
            for object in objects(&environments) {
                for action in Action::ALL {
                    let wanted = grants.iter().any(|grant| one_allows(grant, action, object));
                    prop_assert_eq!(allows(&rights, action, object), wanted, "{} on {:?}", action, object);
                }
                prop_assert!(rights.touch(object) || rights.on(object).is_empty(), "what is allowed is visible");
            }
        }

        #[test]
        fn taking_a_grant_away_never_widens(grants in grants(), at in 0..6_usize, limit in actions()) {
            prop_assume!(at < grants.len());
            let (rights, environments) = (Rights::new(grants.clone()), environments());
            let mut fewer = grants;
            fewer.remove(at);
            let fewer = Rights::new(fewer);
            prop_assert!(rights.includes(&fewer));
            for object in objects(&environments) {
                prop_assert!(rights.on(object).includes(fewer.on(object)));
                prop_assert!(rights.on(object).includes(rights.narrowed(limit).on(object)));
                prop_assert_eq!(rights.narrowed(limit).on(object), rights.on(object).common(limit));
                prop_assert!(rights.touch(object) || !fewer.touch(object));
            }
        }

        #[test]
        fn whose_rights_include_anothers_may_do_all_that_the_other_may(mine in grants(), theirs in grants()) {
            let (mine, theirs, environments) = (Rights::new(mine), Rights::new(theirs), environments());
            prop_assert!(mine.includes(&mine) && mine.includes(&Rights::default()));
            if mine.includes(&theirs) {
                for object in objects(&environments) {
                    prop_assert!(mine.on(object).includes(theirs.on(object)), "{:?}", object);
                }
            }
        }

        #[test]
        fn what_connections_keep_answers_as_the_rights_do(grants in grants()) {
            let (rights, environments) = (Rights::new(grants), environments());
            let allowance = rights.allowance(&environments);
            for action in Action::ALL {
                let word = action.as_str();
                prop_assert_eq!(allowance.allows(word), allows(&rights, action, action.anywhere()));
                for object in objects(&environments).into_iter().filter(|_| action.kind() == ActionKind::Fleet) {
                    let place = match object {
                        Object::Server | Object::Somewhere | Object::Part { .. } => continue,
                        Object::Node { node, .. } => Place { node: node.clone(), group: None },
                        Object::Group { node, group, .. } => Place { node: node.clone(), group: Some(group.to_owned()) },
                    };
                    let whole = Place { group: None, ..place.clone() };
                    let is_kept = allowance.allows(word)
                        || allowance.places(word).any(|kept| *kept == place || (*kept == whole && action != Action::NodeRead));
                    let wanted = allows(&rights, action, object);
                    // A group shows its node, which is no right to the node's other groups.
                    prop_assert!(is_kept == wanted || action == Action::NodeRead, "{} on {:?}", action, object);
                }
            }
        }

        #[test]
        fn every_scope_reads_back(scope in scopes()) {
            prop_assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }

    #[test]
    fn nobody_without_a_grant_may_do_anything() {
        let environments = environments();
        for object in objects(&environments) {
            assert!(Rights::default().on(object).is_empty() && !Rights::default().touch(object));
        }
        assert_eq!(Rights::new([(Scope::Everything, Actions::default())]), Rights::default());
    }

    #[test]
    fn only_everything_includes_the_server() {
        for action in Action::ALL {
            for scope in ["environment:prod", "node:a", "group:a/shop"] {
                let rights = Rights::new([(scope.parse().unwrap(), Actions::all())]);
                assert!(!allows(&rights, action, Object::Server), "{action} with {scope}");
            }
        }
    }

    #[test]
    fn an_environment_does_not_include_the_nodes_that_are_in_it_today() {
        let (environment, node) = ("environment:prod".parse::<Scope>().unwrap(), "node:a".parse::<Scope>().unwrap());
        assert!(!environment.includes(&node) && !node.includes(&environment));
    }

    #[test]
    fn texts_that_are_no_scope_are_refused() {
        let long = format!("environment:{}", "x".repeat(256));
        for text in
            ["", "all", "*", "node", "node:", "node:a b", "group:a", "group:a/", "group:/x", "environment:", &long]
        {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert_eq!("group:a/b/c".parse(), Ok(Scope::Group { node: NodeId::parse("a").unwrap(), group: "b/c".into() }));
    }
}
