use crate::model::{Credential, Identity, PeerFacts, Verdict};
use crate::plugin::{JudgeError, PluginSet};

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

/// Asks the strategies in order. The first yes, no or failure ends it: whoever cannot be judged is not let in.
pub(super) async fn judge(set: &PluginSet, credential: &Credential, facts: &PeerFacts) -> Ruling {
    for strategy in &set.strategies {
        let name_of_strategy = || strategy.name().to_owned();
        match strategy.authenticate(credential.clone(), facts.clone()).await {
            Ok(Verdict::NotMine) => {}
            Ok(Verdict::Granted(identity)) => return Ruling::Granted { strategy: name_of_strategy(), identity },
            Ok(Verdict::Denied { code }) => {
                let end = code.floor_char_boundary(CODE_BYTES_MAX);
                let code = code.get(..end).unwrap_or_default().to_owned();
                return Ruling::Denied { strategy: name_of_strategy(), code };
            }
            Err(source) => return Ruling::Failed { strategy: name_of_strategy(), source },
        }
    }
    Ruling::Denied { strategy: String::new(), code: "no_strategy".into() }
}
