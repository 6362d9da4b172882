//! The nouns everyone shares: node, process, command, event, principal, fault.
//!
//! Knows nothing of wire or disk forms, of sockets, clocks or tasks: no type here is serialisable, nothing here awaits.
//! Entry point: the types themselves.

mod act;
mod action;
mod classes;
mod command;
mod event;
mod fault;
mod follow;
mod glob;
mod grant;
mod ids;
mod log;
mod log_topic;
mod node;
mod principal;
mod process;
mod request;
mod rights;
mod secret;
mod text;
mod transition;

pub use act::{
    Ability, ConfigChanges, GroupChange, GroupCommand, GroupOperation, GroupReport, GroupUpdate, MemberOutcome,
    NodeOperation, ProcessAct, Signal, UpdateReport,
};
pub use action::{Action, ActionKind, Actions};
pub use classes::{ClassCounts, Classes};
pub use command::{Command, CommandReport, Operation, Outcome};
pub use event::{Event, EventBody};
pub use fault::{AdapterFault, Fault, FaultKind};
pub use follow::{FollowState, GapReason, LogGap, LogNews, LogNewsBody, LogPiece};
pub use glob::Glob;
pub use grant::{Allowance, Grant, GrantEnd, Place};
pub use ids::{NameError, NodeId, ProcessId};
pub use log::{LogChannel, LogRange, LogSlice};
pub use log_topic::{LogTopic, LogTopicError, group_segment};
pub use node::{AdapterInfo, NodeState, NodeStatus, Observation, ObservedProcess};
pub use principal::{
    Credential, Identity, IdentitySource, PeerFacts, Principal, Redirection, Role, StrategyInfo, Verdict,
};
pub use process::{Process, ProcessState};
pub use request::{Behalf, Field, OperationRequest, Requester, Target, Violation, is_mutating};
pub use rights::{Environments, Object, Rights, RoleGrant, Scope, ScopeError, allows};
pub use secret::Secret;
pub use text::is_deceptive;
pub use transition::Transition;
