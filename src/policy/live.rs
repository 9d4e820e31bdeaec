//! The set in force, and how another takes its place.
//!
//! Files are read again when they change. A set that is whole and without a mistake takes
//! the place of the one before at once, with all that is remembered; any other changes
//! nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex as Turns, Notify, OwnedMutexGuard, watch};

use super::error::PolicyErrors;
use super::set::PolicySet;
use super::settings::PolicySettings;
use super::source::{Read, read_all};
use super::stats::PolicyStats;

/// Nobody reads more; `stagedoor policy lint` has all.
const MAX_ODD: usize = 20;
/// How long files have to stay as they are.
const SETTLED_FOR: Duration = Duration::from_millis(100);
/// How often files that somebody writes are read once more. What they say then is judged.
const MAX_UNSETTLED: usize = 20;

/// The policies in force. Cheap to clone; every clone sees the same.
#[derive(Clone, Debug)]
pub struct Policies {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwap<PolicySet>,
    settings: PolicySettings,
    again: Notify,
    /// Held while the files are read and taken over.
    turn: Arc<Turns<()>>,
    status: Mutex<Loaded>,
}

/// How the files were read.
#[derive(Debug)]
struct Loaded {
    /// What was read last, whether it could be used or not.
    seen: Option<Read>,
    at: SystemTime,
    adopted: u64,
    refused: u64,
    last_error: Option<String>,
}

/// The state of the policies, for people.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// The version in force.
    pub version: Arc<str>,
    /// The number of policies, those that don't decide among them.
    pub policies: usize,
    /// When the set came into force.
    pub since: SystemTime,
    /// Sets that came into force since the start, the first one not counted.
    pub adopted: u64,
    /// Changes that were not taken over.
    pub refused: u64,
    /// Why the files as they are now are not in force.
    pub last_error: Option<String>,
}

impl Policies {
    /// The policies of the configured files.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn load(settings: PolicySettings) -> Result<Self, PolicyErrors> {
        let read = read_all(&settings);
        let set = PolicySet::of_read(read.clone(), &settings, Arc::default())?;
        say_odd(&set);
        Ok(Self::new(set, settings, Some(read)))
    }

    /// A set that stays as it is.
    #[must_use]
    pub fn fixed(set: PolicySet) -> Self {
        Self::new(set, PolicySettings { reload_every: None, ..PolicySettings::default() }, None)
    }

    /// The policies of changed settings, as the files say now: the very same, with all that
    /// is remembered, where neither settings nor files changed. `anew` has nothing be
    /// remembered in any case, for when something else changed that answers depend on. Takes
    /// a moment: what is being written is waited for.
    ///
    /// # Errors
    /// Every mistake in every file. Nothing changed here then.
    pub fn following(&self, settings: PolicySettings, anew: bool) -> Result<Self, PolicyErrors> {
        let read = read_settled(&settings);
        let before = self.current();
        let set = PolicySet::of_read(read.clone(), &settings, Arc::clone(before.stats()))?;
        let another = set.version() != before.version();
        if !another && !anew && settings == self.shared.settings {
            // A change that was refused and taken back is none.
            self.reload_now();
            return Ok(self.clone());
        }
        let next = Self::new(set, settings, Some(read));
        {
            let before = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
            // Meanwhile the files may have been taken over by themselves, and counted.
            let another = self.shared.current.load().version() != next.current().version();
            let mut loaded = next.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.adopted = before.adopted + u64::from(another);
            loaded.refused = before.refused;
            if !another {
                loaded.at = before.at;
            }
        }
        Ok(next)
    }

    /// Says in the log what is odd about these, and if many of those before are gone. For
    /// when they come into force.
    pub fn say_changes(&self, before: &Self) {
        if !self.is(before) {
            let (before, now) = (before.current(), self.current());
            say_odd(&now);
            say_lost(before.len(), now.len());
        }
    }

    /// Whether both are one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    fn new(set: PolicySet, settings: PolicySettings, seen: Option<Read>) -> Self {
        let loaded =
            Loaded { seen, at: SystemTime::now(), adopted: 0, refused: 0, last_error: None };
        let shared = Shared {
            current: ArcSwap::from_pointee(set),
            settings,
            again: Notify::new(),
            turn: Arc::default(),
            status: Mutex::new(loaded),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.shared.current.load_full()
    }

    /// Has the files not be taken over by themselves while this is held. For a configuration
    /// that brings policies along: between reading them and putting them in force a newer
    /// change would come into force here, and be undone.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.shared.turn).lock_owned().await
    }

    /// Has the files read again now.
    pub fn reload_now(&self) {
        self.shared.again.notify_one();
    }

    /// What is counted over all sets.
    #[must_use]
    pub fn stats(&self) -> Arc<PolicyStats> {
        Arc::clone(self.shared.current.load().stats())
    }

    /// The state, for people.
    #[must_use]
    pub fn status(&self) -> PolicyStatus {
        let set = self.current();
        let loaded = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        PolicyStatus {
            version: Arc::clone(set.version()),
            policies: set.len(),
            since: loaded.at,
            adopted: loaded.adopted,
            refused: loaded.refused,
            last_error: loaded.last_error.clone(),
        }
    }

    /// Reads the files again whenever it is time, until the end.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let time = async {
                match self.shared.settings.reload_every {
                    Some(every) => tokio::time::sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = self.shared.again.notified() => {}
                _ = stop.changed() => return,
            }
            let turn = tokio::select! {
                turn = self.hold() => turn,
                _ = stop.changed() => return,
            };
            let shared = Arc::clone(&self.shared);
            // Reading files blocks, and validating thousands of policies takes a while.
            if tokio::task::spawn_blocking(move || shared.look()).await.is_err() {
                tracing::error!("reading the policies failed: the ones in force stay");
            }
            drop(turn);
        }
    }
}

impl Shared {
    /// Takes over what the files say, where that is new and without a mistake.
    fn look(&self) {
        // Nothing is configured: the built-in policy stays.
        if self.settings.files.is_empty() && self.settings.shadow.is_empty() {
            return;
        }
        let now = read_all(&self.settings);
        let mut loaded = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.seen.as_ref() == Some(&now) {
            return;
        }
        drop(loaded);
        // Whoever writes several files needs a moment: half of a change is not taken over.
        std::thread::sleep(SETTLED_FOR);
        if read_all(&self.settings) != now {
            self.again.notify_one();
            return;
        }
        let before = self.current.load_full();
        let built = PolicySet::of_read(now.clone(), &self.settings, Arc::clone(before.stats()));
        loaded = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.seen = Some(now);
        match built {
            Ok(set) if set.version() == before.version() => loaded.last_error = None,
            Ok(set) => {
                let (policies, version) = (set.len(), Arc::clone(set.version()));
                tracing::info!(policies, %version, before = %before.version(), "other policies are in force");
                say_odd(&set);
                say_lost(before.len(), set.len());
                self.current.store(Arc::new(set));
                loaded.at = SystemTime::now();
                loaded.adopted += 1;
                loaded.last_error = None;
            }
            Err(errors) => {
                tracing::error!(%errors, in_force = %before.version(), "the changed policies are not taken over");
                loaded.refused += 1;
                loaded.last_error = Some(errors.to_string());
            }
        }
    }
}

/// What the files say once nobody seems to be writing them any more.
fn read_settled(settings: &PolicySettings) -> Read {
    let mut read = read_all(settings);
    if settings.files.is_empty() && settings.shadow.is_empty() {
        return read;
    }
    for _ in 0..MAX_UNSETTLED {
        std::thread::sleep(SETTLED_FOR);
        let again = read_all(settings);
        if again == read {
            break;
        }
        read = again;
    }
    read
}

/// Says so where most of the policies are gone: nobody but who wrote the files can tell
/// whether that was meant.
fn say_lost(before: usize, after: usize) {
    if after < before.div_ceil(2) {
        tracing::warn!(before, after, "more than half of the policies are gone");
    }
}

/// Says what is no mistake, but can't be meant.
fn say_odd(set: &PolicySet) {
    for odd in set.odd().iter().take(MAX_ODD) {
        tracing::warn!(%odd, "a policy can't be meant like this");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::path::Path;

    use super::*;
    use crate::policy::PolicySource;

    const ONE: &str = "@id(\"one\") permit (principal, action, resource);\n";
    const MORE: &str = "@id(\"two\") permit (principal, action, resource);\n\
                        @id(\"three\") permit (principal, action, resource);\n";

    fn settings(file: &Path) -> PolicySettings {
        PolicySettings { files: vec![file.to_owned()], ..PolicySettings::default() }
    }

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is said in the log meanwhile.
    fn said(act: impl FnOnce()) -> String {
        let said = Said::default();
        let to = said.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone());
        tracing::subscriber::with_default(log.finish(), act);
        let bytes = said.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Whoever reads the files for a configuration puts in force what they said then: nothing
    /// newer may be in force by that time, which would be undone.
    #[tokio::test]
    async fn nothing_newer_comes_into_force_before_a_configuration_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.cedar");
        std::fs::write(&file, ONE).unwrap();
        let policies = Policies::load(settings(&file)).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = policies.clone();
        let running = tokio::spawn(async move { running.run(stopped).await });

        let held = policies.hold().await;
        std::fs::write(&file, MORE).unwrap();
        policies.reload_now();
        tokio::time::sleep(5 * SETTLED_FOR).await;
        assert_eq!(policies.status().policies, 1);
        drop(held);
        let adopted = async {
            while policies.status().policies != 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), adopted).await.expect("it is taken over");
        // Who holds them doesn't hold up the end.
        let _held = policies.hold().await;
        policies.reload_now();
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(20), running).await.expect("it ends").unwrap();
    }

    #[test]
    fn a_mistake_that_is_taken_back_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.cedar");
        std::fs::write(&file, ONE).unwrap();
        let policies = Policies::load(settings(&file)).unwrap();
        let before = policies.current();
        std::fs::write(&file, "permit (").unwrap();
        policies.shared.look();
        let status = policies.status();
        assert_eq!((status.adopted, status.refused), (0, 1));
        assert!(status.last_error.unwrap().contains("p.cedar:1:"));
        std::fs::write(&file, ONE).unwrap();
        policies.shared.look();
        let status = policies.status();
        assert_eq!((status.adopted, status.refused, status.last_error), (0, 1, None));
        assert!(Arc::ptr_eq(&before, &policies.current()), "with all that is remembered");
    }

    #[test]
    fn what_is_lost_and_what_is_odd_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.cedar");
        std::fs::write(&file, format!("{ONE}{MORE}")).unwrap();
        let policies = Policies::load(settings(&file)).unwrap();
        let lost = "more than half of the policies are gone";
        let odd = "a policy can't be meant like this";
        std::fs::write(&file, MORE).unwrap();
        let text = said(|| policies.shared.look());
        assert!(!text.contains(lost) && !text.contains(odd), "{text}");
        // Whatever was meant, nobody is in a component.
        let never = r#"@id("never") permit (principal in Component::"component:default/a", action, resource);"#;
        std::fs::write(&file, format!("{MORE}{never}")).unwrap();
        let text = said(|| policies.shared.look());
        assert!(!text.contains(lost) && text.contains(odd), "{text}");
        std::fs::write(&file, ONE).unwrap();
        let text = said(|| policies.shared.look());
        assert!(text.contains(lost) && text.contains("before=3 after=1"), "{text}");
        assert_eq!(policies.status().adopted, 3, "it is in force all the same");
    }

    /// Where no file is configured there is none whose change could be taken over.
    #[tokio::test(start_paused = true)]
    async fn what_comes_from_no_file_stays() {
        let source = PolicySource { file: "given".into(), text: ONE.to_owned() };
        let fixed = Policies::fixed(PolicySet::of(&[source]).unwrap());
        let before = fixed.current();
        let (stop, stopped) = watch::channel(false);
        let running = fixed.clone();
        let task = tokio::spawn(async move { running.run(stopped).await });
        fixed.reload_now();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        fixed.shared.look();
        assert!(Arc::ptr_eq(&before, &fixed.current()));
        stop.send_replace(true);
        task.await.unwrap();
    }

    #[test]
    fn other_settings_make_for_another_that_says_the_same() {
        let policies = Policies::load(PolicySettings::default()).unwrap();
        let same = policies.following(PolicySettings::default(), false).unwrap();
        assert!(same.is(&policies));
        let changed = PolicySettings { shadow_sample: 1, ..PolicySettings::default() };
        let other = policies.following(changed, false).unwrap();
        assert!(!other.is(&policies));
        assert_eq!(other.current().version(), policies.current().version());
        assert_eq!((other.current().shadow_sample, other.status().adopted), (1, 0));
    }
}
