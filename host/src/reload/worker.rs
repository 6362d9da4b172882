use crate::config::{
    Config, MANAGED_NODES_MAX, MachineSecrets, ManagedNode, NodeConfig, Snapshot, diff, in_force, taken, with_managed,
};
use crate::model::{NodeId, Secret};
use crate::reload::handle::{Order, Reply};
use crate::reload::{
    Applied, Author, ConfigFile, NodeWish, ORDERS_WAITING_MAX, Parts, ReloadError, ReloadFigures, Reloader, Trigger,
    passwords,
};
use crate::store::{AuditOutcome, AuditRecord, Configuration, SecretPlace, Store, StoreError};
use crate::task::until;
use crate::watch::{Debounce, FileWatch, Mark};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Before another try to have the database say what is in force.
const SETTLE_PAUSE: Duration = Duration::from_secs(5);

/// What a worker is made of.
pub struct WorkerParts {
    /// What is in force, from [`Worker::begin`].
    pub first: Snapshot,
    /// Where configurations come from.
    pub file: Option<ConfigFile>,
    /// Where they are remembered.
    pub store: Store,
    /// What applies them.
    pub parts: Arc<dyn Parts>,
    /// Notified when the file is to be read again. Many while a change is under way are one; none is lost.
    pub hints: Arc<Notify>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Owns the configuration: takes one change at a time.
pub struct Worker {
    file: Option<ConfigFile>,
    store: Store,
    parts: Arc<dyn Parts>,
    stop: CancellationToken,
    /// What the settings were that only a restart changes.
    started: Config,
    publish: watch::Sender<Arc<Snapshot>>,
    /// Why the file is not in force.
    fault: watch::Sender<Option<Arc<str>>>,
    /// When to try again to write down what is in force. The store did not say what became of a change: it is not in
    /// force, and must not be after a restart.
    settle_at: Option<Instant>,
    hints: Arc<Notify>,
    inbox: mpsc::Receiver<(Order, Reply)>,
    /// What was told last of a file that cannot be applied, so that it is told once.
    told: Option<String>,
    mark: Option<Mark>,
    figures: Arc<ReloadFigures>,
}

/// A configuration that is to be in force.
struct Wanted {
    text: Arc<str>,
    /// Without the managed nodes.
    declared: Config,
    managed: Vec<ManagedNode>,
    /// The password that comes with this change, to be kept.
    given: Option<(SecretPlace, Secret)>,
    cause: &'static str,
    author: Author,
    /// True when the text becomes the file's.
    replaces_file: bool,
    /// True when all of it may differ, not only the nodes.
    is_whole: bool,
}

/// How a change is written down.
struct Written<'a> {
    cause: &'static str,
    author: &'a Author,
    given: Option<(SecretPlace, Secret)>,
    replaces_file: bool,
}

enum Step {
    Stop,
    Hint,
    FileChanged,
    Due,
    Settle,
    Order(Box<Order>, Reply),
}

impl Worker {
    /// The first snapshot of a host: the configuration of its file with the nodes that the API owns, and the number that
    /// follows from what is remembered. One that is as it was remembered keeps its number.
    ///
    /// A managed node that cannot be used, e.g. for its password's file is gone, is left out with an error in the log: nobody
    /// could mend it while there is no server. One whose kept password cannot be had is asked without.
    ///
    /// # Errors
    /// [`ReloadError::Faulty`] when the file declares a node that the API owns; [`ReloadError::Store`].
    pub async fn begin(
        config: Config,
        text: Arc<str>,
        file: Option<&ConfigFile>,
        store: &Store,
    ) -> Result<Snapshot, ReloadError> {
        let last = store.configurations().await?.pop();
        let (number, known, managed) = match last {
            Some(last) => (last.generation, Some(last.text), last.managed),
            None => (0, None, Vec::new()),
        };
        let taken: Vec<_> = managed.iter().filter_map(|node| taken(&config, &node.name)).collect();
        if !taken.is_empty() {
            return Err(ReloadError::Faulty(taken));
        }
        let base = base(file);
        let (passwords, missing) = passwords::known(&managed, None, store)?;
        tell_missing(&missing);
        let usable: Vec<ManagedNode> = managed
            .iter()
            .filter(|node| match node.check(&MachineSecrets, &base, passwords.get(&node.name)) {
                Ok(_) => true,
                Err(faults) => {
                    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    tracing::error!(node = node.name, faults = faults.join("; "), "a managed node cannot be used");
                    false
                }
            })
            .cloned()
            .collect();
        let config = with_managed(config, &usable, &passwords, &MachineSecrets, &base).map_err(ReloadError::Faulty)?;
        let is_known = known.as_deref() == Some(&*text);
        let generation = if is_known { number } else { number + 1 };
        let first = Snapshot { generation, config, text, managed, restart: Vec::new() };
        if !is_known {
            let (configuration, audit) = remembered(&first, "start", &Author::host("start"));
            if let Err(error) = store.put_configuration(configuration, &[], audit).await {
                tracing::warn!(%error, "the configuration is not remembered");
            }
        }
        Ok(first)
    }

    /// A worker that is to be run, and the handle to it.
    #[must_use]
    pub fn new(parts: WorkerParts) -> (Self, Reloader) {
        let WorkerParts { first, file, store, parts, hints, stop } = parts;
        let (orders, inbox) = mpsc::channel(ORDERS_WAITING_MAX);
        let started = first.config.clone();
        let (publish, snapshots) = watch::channel(Arc::new(first));
        let (fault, why) = watch::channel(None);
        let figures = Arc::<ReloadFigures>::default();
        let reloader = Reloader { orders, snapshots, fault: why, figures: Arc::clone(&figures) };
        let (told, mark, settle_at) = (None, None, None);
        let worker =
            Self { file, store, parts, stop, started, publish, fault, settle_at, hints, inbox, told, mark, figures };
        (worker, reloader)
    }

    /// Takes changes until it is stopped. One under way then is not finished, and a restart finds what it had written.
    pub async fn run(mut self) {
        self.serve().await;
        if self.settle_at.is_some() {
            self.settle().await;
        }
    }

    async fn serve(&mut self) {
        let (mut watch, mut is_watched) = (None, false);
        let mut debounce = Debounce::default();
        let (stop, hints) = (self.stop.clone(), Arc::clone(&self.hints));
        loop {
            let wants = self.publish.borrow().config.server.config_watch;
            if wants != is_watched {
                (is_watched, debounce) = (wants, Debounce::default());
                watch = if wants { self.watch() } else { None };
                if watch.is_some() {
                    // It may have changed between its reading and the start of the watch.
                    debounce.note(Instant::now());
                }
            }
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => Step::Stop,
                () = hints.notified() => Step::Hint,
                order = self.inbox.recv() => order.map_or(Step::Stop, |(order, reply)| Step::Order(Box::new(order), reply)),
                () = until(self.settle_at) => Step::Settle,
                () = until(debounce.due()) => Step::Due,
                () = FileWatch::changed(watch.as_ref()) => Step::FileChanged,
            };
            let work = async {
                match step {
                    Step::Stop => return false,
                    Step::Hint => self.read_again(Trigger::Signal).await,
                    Step::Settle => self.settle().await,
                    Step::FileChanged => debounce.note(Instant::now()),
                    Step::Due => {
                        if debounce.take(Instant::now()) && self.is_changed().await {
                            self.read_again(Trigger::File).await;
                        }
                    }
                    Step::Order(order, reply) => {
                        let applied = self.carry_out(*order).await;
                        drop(reply.send(applied)); // whoever asked may have left
                    }
                }
                true
            };
            tokio::select! {
                biased;
                goes_on = work => if !goes_on { return },
                () = stop.cancelled() => return,
            }
        }
    }

    fn watch(&self) -> Option<FileWatch> {
        let file = self.file.as_ref()?;
        FileWatch::start(file.directory())
            .inspect_err(|error| {
                let directory = file.directory().display();
                tracing::warn!(%directory, %error, "the configuration's file is not watched; SIGHUP has it read again");
            })
            .ok()
    }

    /// Whether the file looks other than when it was looked at last.
    async fn is_changed(&mut self) -> bool {
        let Some(path) = self.file.as_ref().map(|file| file.path().to_owned()) else { return false };
        let look = move || std::fs::metadata(path).ok().map(|metadata| Mark::of(&metadata));
        let mark = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let is_changed = mark.is_none() || mark != self.mark;
        self.mark = mark;
        is_changed
    }

    /// Reads the file again and tells in the log what came of it, for whoever asked sees no answer.
    async fn read_again(&mut self, trigger: Trigger) {
        let who = match trigger {
            Trigger::Signal => "SIGHUP",
            Trigger::File => "file",
            Trigger::Api => "",
        };
        let error = match self.carry_out(Order::Reload { trigger, author: Author::host(who) }).await {
            Ok(_) => {
                self.told = None;
                return;
            }
            Err(error) => error,
        };
        let told = error.told();
        // Many events of one broken file are one piece of news; a signal is a question, which is answered.
        if trigger == Trigger::File && self.told.as_ref() == Some(&told) {
            return;
        }
        match error {
            ReloadError::Unreadable(_) | ReloadError::Faulty(_) | ReloadError::NoFile => {
                tracing::error!(error = told, "the configuration was not read again; all is as it was");
            }
            ReloadError::Plugins(_)
            | ReloadError::UnknownGeneration { .. }
            | ReloadError::FileChanged { .. }
            | ReloadError::NotWritable { .. }
            | ReloadError::Declared { .. }
            | ReloadError::NodeExists { .. }
            | ReloadError::UnknownNode { .. }
            | ReloadError::TooManyNodes { .. }
            | ReloadError::Store(_)
            | ReloadError::Busy { .. }
            | ReloadError::Stopped => {
                tracing::error!(error = told, "the new configuration was not applied; all is as it was");
            }
        }
        self.told = Some(told);
    }

    async fn carry_out(&mut self, order: Order) -> Result<Applied, ReloadError> {
        let is_of_the_file = matches!(order, Order::Reload { .. } | Order::RollBack { .. });
        if matches!(order, Order::Reload { .. }) {
            self.parts.read_again();
        }
        let carried_out = self.change(order).await;
        self.figures.count(carried_out.as_ref().ok().map(|applied| applied.is_changed));
        match &carried_out {
            Ok(_) if is_of_the_file => drop(self.fault.send_replace(None)),
            Err(error) if is_of_the_file && error.is_of_the_file() => {
                self.fault.send_replace(Some(Arc::from(error.told())));
            }
            Err(ReloadError::Store(StoreError::TimedOut { .. })) => self.settle_at = Some(Instant::now()),
            Ok(_) | Err(_) => {}
        }
        carried_out
    }

    /// Writes down what is in force as the next generation, behind the change whose outcome is not known. The writer keeps
    /// the order, so that what was not acknowledged does not come back with a restart.
    async fn settle(&mut self) {
        let old = Arc::clone(&self.publish.borrow());
        let next = Snapshot { generation: old.generation + 1, ..Snapshot::clone(&old) };
        let (configuration, audit) = remembered(&next, "undo", &Author::host("undo"));
        match self.store.put_configuration(configuration, &passwords::all(&next), audit).await {
            Ok(()) => {
                self.settle_at = None;
                tracing::warn!(
                    generation = next.generation,
                    "a change that the database did not confirm was undone there"
                );
                self.publish.send_replace(Arc::new(next));
            }
            Err(error) => {
                tracing::error!(%error, "a change that the database did not confirm is not undone there yet");
                self.settle_at = Some(Instant::now() + SETTLE_PAUSE);
            }
        }
    }

    async fn change(&mut self, order: Order) -> Result<Applied, ReloadError> {
        let old = Arc::clone(&self.publish.borrow());
        let wanted = match order {
            Order::Reload { trigger, author } => self.reread(&old, trigger, author).await?,
            Order::RollBack { generation, author } => self.earlier(&old, generation, author).await?,
            Order::AddNode { wish, author } => {
                let is_managed = managed_of(&old, &wish.node.name)?;
                if is_managed {
                    return Err(ReloadError::NodeExists { node: wish.node.name });
                }
                if old.managed.len() >= MANAGED_NODES_MAX {
                    return Err(ReloadError::TooManyNodes { limit: MANAGED_NODES_MAX });
                }
                self.with_wish(&old, "node.add", author, wish)?
            }
            Order::ReplaceNode { wish, author } => {
                if !managed_of(&old, &wish.node.name)? {
                    return Err(ReloadError::UnknownNode { node: wish.node.name });
                }
                self.with_wish(&old, "node.replace", author, wish)?
            }
            Order::RemoveNode { name, author } => {
                if !managed_of(&old, &name)? {
                    return Err(ReloadError::UnknownNode { node: name });
                }
                with_nodes(&old, "node.remove", author, |managed| managed.retain(|known| known.name != name))
            }
        };
        self.apply(&old, wanted).await
    }

    /// The same configuration with this node, instead of the one of its name if there is one.
    fn with_wish(
        &self,
        old: &Snapshot,
        cause: &'static str,
        author: Author,
        wish: NodeWish,
    ) -> Result<Wanted, ReloadError> {
        let before = old.find_managed(&wish.node.name);
        let (node, password) = passwords::settled(wish, before, self.store.can_seal())?;
        let given = password.map(|password| (passwords::place(&node), password));
        let wanted = with_nodes(old, cause, author, |managed| {
            managed.retain(|known| known.name != node.name);
            managed.push(node);
        });
        Ok(Wanted { given, ..wanted })
    }

    async fn reread(&self, old: &Snapshot, trigger: Trigger, author: Author) -> Result<Wanted, ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let (text, declared) = aside(move || file.load()).await??;
        let cause = match trigger {
            Trigger::Signal => "signal",
            Trigger::File => "file",
            Trigger::Api => "reload",
        };
        let managed = old.managed.clone();
        let given = None;
        Ok(Wanted { text, declared, managed, given, cause, author, replaces_file: false, is_whole: true })
    }

    async fn earlier(&self, old: &Snapshot, generation: u64, author: Author) -> Result<Wanted, ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let kept = self.store.configurations().await?;
        let unknown = ReloadError::UnknownGeneration { generation };
        let kept = kept.into_iter().find(|kept| kept.generation == generation).ok_or(unknown)?;
        let (text, in_force) = (Arc::<str>::from(kept.text), Arc::clone(&old.text));
        let (checked, path) = (Arc::clone(&text), file.path().to_owned());
        let declared = aside(move || {
            if file.text()? != *in_force {
                return Err(ReloadError::FileChanged { path });
            }
            Ok(file.check(&checked)?)
        })
        .await??;
        Ok(Wanted {
            text,
            declared,
            managed: kept.managed,
            given: None,
            cause: "rollback",
            author,
            replaces_file: true,
            is_whole: true,
        })
    }

    /// All or nothing: everything that can fail comes first, and what was done of it is put back.
    async fn apply(&mut self, old: &Arc<Snapshot>, wanted: Wanted) -> Result<Applied, ReloadError> {
        let Wanted { text, declared, managed, given, cause, author, replaces_file, is_whole } = wanted;
        let (config, passwords_missing) = self.with_managed(old, declared, &managed, given.clone()).await?;
        let restart = if is_whole { diff(&self.started, &config).restart() } else { old.restart.clone() };
        let config = in_force(&old.config, &config);
        let differs = diff(&old.config, &config);
        let (before, after) = (old.config.adapters(), config.adapters());
        let both = before.union(&after).cloned().collect();
        let asks_plugins = is_whole || both != before;
        let mut plugins = Vec::new();
        if asks_plugins {
            let asked = self.parts.plugins(config.plugins.clone(), both, author.clone()).await;
            plugins = asked.map_err(ReloadError::Plugins)?;
        }
        let is_changed = !differs.is_empty() || text != old.text || managed != old.managed || restart != old.restart;
        let generation = if is_changed { old.generation + 1 } else { old.generation };
        let next = Snapshot { generation, config, text, managed, restart };
        let written = Written { cause, author: &author, given, replaces_file };
        if is_changed && let Err(error) = self.write_down(old, &next, written).await {
            if asks_plugins {
                let back = self.parts.plugins(old.config.plugins.clone(), before, Author::host("undo")).await;
                if let Err(error) = back {
                    tracing::error!(%error, "the plugins could not be put back as they were");
                }
            }
            return Err(error);
        }
        if is_changed {
            // Written behind whatever was in doubt, under its very number.
            self.settle_at = None;
        }
        // From here on nothing can fail.
        if is_whole {
            self.parts.settings(&next.config);
        }
        let names = |nodes: &[crate::config::NodeConfig]| nodes.iter().map(|node| node.name.clone()).collect();
        let (nodes_added, nodes_changed): (Vec<NodeId>, Vec<NodeId>) =
            (names(&differs.nodes_added), names(&differs.nodes_changed));
        if !(nodes_added.is_empty() && nodes_changed.is_empty() && differs.nodes_removed.is_empty()) {
            self.parts.nodes(next.config.nodes.clone()).await;
        }
        if !before.is_subset(&after) {
            // Adapters that no node needs any more; they are dropped once nobody calls them.
            match self.parts.plugins(next.config.plugins.clone(), after, author).await {
                Ok(gone) => plugins.extend(gone),
                Err(error) => tracing::warn!(%error, "adapters that no node needs stay loaded"),
            }
        }
        let applied = Applied {
            generation,
            is_changed,
            settings: differs.live(),
            plugins,
            nodes_added,
            nodes_changed,
            nodes_removed: differs.nodes_removed,
            passwords_missing,
            restart: next.restart.clone(),
        };
        self.publish.send_replace(Arc::new(next));
        tell(&applied, cause);
        Ok(applied)
    }

    /// The declared configuration with the managed nodes and their passwords, and the names of those that miss theirs.
    async fn with_managed(
        &self,
        old: &Arc<Snapshot>,
        declared: Config,
        managed: &[ManagedNode],
        given: Option<(SecretPlace, Secret)>,
    ) -> Result<(Config, Vec<String>), ReloadError> {
        let (old, nodes, store) = (Arc::clone(old), managed.to_vec(), self.store.clone());
        let base = base(self.file.as_ref());
        aside(move || {
            let (mut kept, mut missing) = passwords::known(&nodes, Some(&old), &store)?;
            if let Some((place, password)) = given {
                missing.retain(|(name, _)| *name != place.name);
                kept.insert(place.name, password);
            }
            // The others were told of when they went missing.
            let was_missing = |name: &str| {
                let has_login = |node: &NodeConfig| node.name.as_str() == name && node.login.is_some();
                old.find_managed(name).is_some_and(|node| node.has_kept_password)
                    && !old.config.nodes.iter().any(has_login)
            };
            let (_, news): (Vec<_>, Vec<_>) = missing.iter().cloned().partition(|(name, _)| was_missing(name));
            tell_missing(&news);
            let config = with_managed(declared, &nodes, &kept, &MachineSecrets, &base).map_err(ReloadError::Faulty)?;
            Ok((config, missing.into_iter().map(|(name, _)| name).collect()))
        })
        .await?
    }

    /// Makes the change outlive the process: the file, where it is to change, and the record.
    async fn write_down(&self, old: &Snapshot, next: &Snapshot, written: Written<'_>) -> Result<(), ReloadError> {
        let Written { cause, author, given, replaces_file } = written;
        if replaces_file {
            self.replace(Arc::clone(&next.text)).await?;
        }
        let (configuration, audit) = remembered(next, cause, author);
        // Behind a change whose outcome is not known, the store is told all that it has to keep.
        let secrets = if self.settle_at.is_some() { passwords::all(next) } else { given.into_iter().collect() };
        let written = self.store.put_configuration(configuration, &secrets, audit).await;
        if written.is_err() && replaces_file {
            self.replace(Arc::clone(&old.text)).await?;
        }
        Ok(written?)
    }

    async fn replace(&self, text: Arc<str>) -> Result<(), ReloadError> {
        let file = self.file.clone().ok_or(ReloadError::NoFile)?;
        let path = file.path().to_owned();
        aside(move || file.replace(&text)).await?.map_err(|source| ReloadError::NotWritable { path, source })
    }
}

/// Whether the API owns a node; an error if the file does.
fn managed_of(old: &Snapshot, name: &str) -> Result<bool, ReloadError> {
    if old.is_declared(name) {
        return Err(ReloadError::Declared { node: name.to_owned() });
    }
    Ok(old.find_managed(name).is_some())
}

/// The same configuration with other managed nodes.
fn with_nodes(
    old: &Snapshot,
    cause: &'static str,
    author: Author,
    change: impl FnOnce(&mut Vec<ManagedNode>),
) -> Wanted {
    let mut managed = old.managed.clone();
    change(&mut managed);
    managed.sort();
    let mut declared = old.config.clone();
    declared.nodes.retain(|node| old.find_managed(node.name.as_str()).is_none());
    let text = Arc::clone(&old.text);
    Wanted { text, declared, managed, given: None, cause, author, replaces_file: false, is_whole: false }
}

fn tell_missing(missing: &[(String, String)]) {
    for (node, why) in missing {
        tracing::error!(node, why, "the password of a managed node cannot be had; it is asked without one");
    }
}

fn base(file: Option<&ConfigFile>) -> PathBuf {
    file.map_or_else(|| Path::new(".").to_owned(), |file| file.directory().to_owned())
}

fn remembered(snapshot: &Snapshot, cause: &str, author: &Author) -> (Configuration, AuditRecord) {
    let at = SystemTime::now();
    let configuration = Configuration {
        generation: snapshot.generation,
        at,
        cause: cause.to_owned(),
        who: author.who.clone(),
        text: snapshot.text.to_string(),
        managed: snapshot.managed.clone(),
    };
    let audit = AuditRecord {
        at,
        who: author.who.clone(),
        what: "config.apply".to_owned(),
        target: format!("generation {}", snapshot.generation),
        outcome: AuditOutcome::Done,
        reason: cause.to_owned(),
        request_id: author.request_id.clone(),
        address: author.address,
    };
    (configuration, audit)
}

fn tell(applied: &Applied, cause: &str) {
    let Applied {
        generation,
        is_changed,
        settings,
        plugins,
        nodes_added,
        nodes_changed,
        nodes_removed,
        passwords_missing: _,
        restart,
    } = applied;
    // A file that was touched and says the same is no news.
    if !is_changed && cause == "file" {
        return;
    }
    tracing::info!(
        generation,
        cause,
        is_changed,
        settings = settings.join(", "),
        plugins = plugins.join(", "),
        nodes_added = nodes_added.len(),
        nodes_changed = nodes_changed.len(),
        nodes_removed = nodes_removed.len(),
        "the configuration was applied"
    );
    if !restart.is_empty() {
        tracing::warn!(settings = restart.join(", "), "the configuration differs in what only a restart changes");
    }
}

/// Runs what blocks on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReloadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ReloadError::Stopped)
}
