use crate::model::{Credential, Identity, PeerFacts, Verdict};
use crate::plugin::{JudgeError, PluginSet, Strategy};

/// What the strategies together say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// A strategy said yes.
    Granted { strategy: String, identity: Identity },
    /// A strategy said no, or none felt responsible; then `strategy` is empty.
    Denied { strategy: String, code: String },
    /// A strategy failed before it said anything.
    Failed { strategy: String, source: JudgeError },
}

/// Bytes of a reason that are kept, as the contract says.
const CODE_BYTES_MAX: usize = 64;

/// Asks the strategies that look at such credentials, in order. The first yes, no or failure ends it: whoever cannot be
/// judged is not let in.
pub(super) async fn judge(set: &PluginSet, credential: &Credential, facts: &PeerFacts) -> Ruling {
    for strategy in &set.strategies {
        let Some(share) = share(strategy.as_ref(), credential) else { continue };
        let said = strategy.authenticate(share, facts.clone()).await;
        if let Some(ruling) = ruling(strategy.name(), said) {
            return ruling;
        }
    }
    nobody()
}

/// What a strategy said in the end. None when it felt not responsible.
pub(super) fn ruling(strategy: &str, said: Result<Verdict, JudgeError>) -> Option<Ruling> {
    let strategy = strategy.to_owned();
    match said {
        Ok(Verdict::NotMine) => None,
        Ok(Verdict::Granted(identity)) => Some(Ruling::Granted { strategy, identity }),
        Ok(Verdict::Denied { code }) => {
            let end = code.floor_char_boundary(CODE_BYTES_MAX);
            Some(Ruling::Denied { strategy, code: code.get(..end).unwrap_or_default().to_owned() })
        }
        Err(source) => Some(Ruling::Failed { strategy, source }),
    }
}

/// No strategy felt responsible.
pub(super) fn nobody() -> Ruling {
    Ruling::Denied { strategy: String::new(), code: "no_strategy".into() }
}

/// Whether any strategy looks at such a credential at all.
pub(super) fn is_looked_at(set: &PluginSet, credential: &Credential) -> bool {
    set.strategies.iter().any(|strategy| share(strategy.as_ref(), credential).is_some())
}

/// What a strategy sees of a credential: nothing of a kind that it did not name, and no header that it did not name.
fn share(strategy: &dyn Strategy, credential: &Credential) -> Option<Credential> {
    let info = strategy.info();
    let looks_at = |kind: &str| info.credentials.iter().any(|named| named == kind);
    match credential {
        Credential::Password { .. } => looks_at("password").then(|| credential.clone()),
        Credential::Bearer { .. } => looks_at("bearer").then(|| credential.clone()),
        Credential::Headers { headers } => {
            let is_named = |name: &String| looks_at("headers") && info.request_headers.contains(name);
            let headers: Vec<_> = headers.iter().filter(|(name, _)| is_named(name)).cloned().collect();
            (!headers.is_empty()).then_some(Credential::Headers { headers })
        }
    }
}
