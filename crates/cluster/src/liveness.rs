//! Which nodes live: each counts its beats, and whoever watches them judges by a clock of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;

/// How often a node beats, and looks at the others.
pub const BEAT: Duration = Duration::from_millis(300);

/// How long a node's counter has to stand still before the node counts as dead, …
pub const DEAD_AFTER: Duration = Duration::from_secs(2);

/// … over at least so many looks at it.
pub const DEAD_LOOKS: u32 = 4;

/// The longest time between two looks after which anybody may have beaten unseen.
const GAP: Duration = Duration::from_secs(1);

/// A node as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: Arc<str>,
    /// Which start of it.
    pub boot: u64,
    /// How often it has beaten.
    pub counter: u64,
    /// Whether it has said that it leaves.
    pub left: bool,
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It beats.
    Alive,
    /// It has stopped beating.
    Dead,
    /// It has left in good order.
    Left,
}

/// What has become of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: Arc<str>,
    /// How it stands now; `None`: it has been forgotten.
    pub standing: Option<Standing>,
}

#[derive(Debug)]
struct Known {
    boot: u64,
    counter: u64,
    moved: Mono,
    looks: u32,
    standing: Standing,
}

/// What one node knows of all.
#[derive(Debug, Default)]
pub struct Liveness {
    nodes: BTreeMap<Arc<str>, Known>,
    last_look: Option<Mono>,
}

impl Liveness {
    /// Looks at all nodes that the store shows. A look that failed is none.
    pub fn look(&mut self, now: Mono, all: &[Seen]) -> Vec<Change> {
        // What was not looked at in time says nothing: everybody gets a new start.
        let after_gap = self.last_look.is_none_or(|last| now.since(last) > GAP);
        self.last_look = Some(now);
        let mut changes = Vec::new();
        for seen in all {
            let known = self.nodes.get_mut(&seen.name);
            let before = known.as_ref().map(|known| (known.boot, known.standing));
            let standing = match known {
                Some(known) => known.look(seen, now, after_gap),
                None => {
                    let standing = if seen.left { Standing::Left } else { Standing::Alive };
                    let (boot, counter) = (seen.boot, seen.counter);
                    let known = Known { boot, counter, moved: now, looks: 0, standing };
                    self.nodes.insert(seen.name.clone(), known);
                    standing
                }
            };
            // Another life of it is elsewhere, also if nobody saw that the one before had ended.
            if before != Some((seen.boot, standing)) {
                changes.push(Change { name: seen.name.clone(), standing: Some(standing) });
            }
        }
        let is_shown = |name: &Arc<str>| all.iter().any(|seen| seen.name == *name);
        let absent: Vec<_> = self.nodes.keys().filter(|name| !is_shown(name)).cloned().collect();
        for name in absent {
            let is_missed =
                |known: &mut Known| known.standing == Standing::Alive && !known.is_still(now, after_gap);
            // A store that has come back empty shows nobody; who lives beats again.
            if !self.nodes.get_mut(&name).is_some_and(is_missed) {
                self.nodes.remove(&name);
                changes.push(Change { name, standing: None });
            }
        }
        changes
    }

    /// Whether what it knows is of now: who has not looked for a while, since it was stopped or cut off, knows nothing of the
    /// others, and is not to take anything from them.
    pub fn is_current(&self, now: Mono) -> bool {
        self.last_look.is_some_and(|last| now.since(last) <= GAP)
    }

    /// How a node stands; `None` for one that is not known.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        self.nodes.get(name).map(|known| known.standing)
    }

    /// Nodes that are alive.
    pub fn alive(&self) -> usize {
        self.nodes.values().filter(|known| known.standing == Standing::Alive).count()
    }
}

impl Known {
    /// Takes note that it is not shown. Whether it has been still for as long as a dead node is.
    fn is_still(&mut self, now: Mono, after_gap: bool) -> bool {
        if after_gap {
            (self.moved, self.looks) = (now, 0);
        } else {
            self.looks += 1;
        }
        self.looks >= DEAD_LOOKS && now.since(self.moved) >= DEAD_AFTER
    }

    fn look(&mut self, seen: &Seen, now: Mono, after_gap: bool) -> Standing {
        let has_moved = (self.boot, self.counter) != (seen.boot, seen.counter);
        if has_moved || after_gap {
            (self.boot, self.counter) = (seen.boot, seen.counter);
            (self.moved, self.looks) = (now, 0);
        } else {
            self.looks += 1;
        }
        self.standing = match self.standing {
            _ if seen.left => Standing::Left,
            _ if has_moved => Standing::Alive,
            Standing::Alive if self.looks >= DEAD_LOOKS && now.since(self.moved) >= DEAD_AFTER => {
                Standing::Dead
            }
            unmoved => unmoved,
        };
        self.standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, boot: u64, counter: u64) -> Seen {
        Seen { name: name.into(), boot, counter, left: false }
    }

    fn change(name: &str, standing: Standing) -> Change {
        Change { name: name.into(), standing: Some(standing) }
    }

    /// Looks at `a`, which beats, and at `b`, which does so until it is killed.
    struct World {
        liveness: Liveness,
        now: u64,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { liveness: Liveness::default(), now: 0 };
            assert_eq!(world.look(1), [change("a", Standing::Alive), change("b", Standing::Alive)]);
            world
        }

        fn look(&mut self, b: u64) -> Vec<Change> {
            self.now += 300;
            self.liveness.look(Mono(self.now), &[seen("a", 1, self.now), seen("b", 1, b)])
        }
    }

    #[test]
    fn a_node_whose_counter_stands_still_for_two_seconds_is_dead() {
        let mut world = World::new();
        let mut died = None;
        for _ in 0..10 {
            let changes = world.look(1);
            if !changes.is_empty() {
                assert_eq!(changes, [change("b", Standing::Dead)]);
                died = Some(world.now);
            }
        }
        // Seen last at 300 ms.
        assert_eq!(died, Some(2_400));
        assert_eq!(world.liveness.alive(), 1);
        assert_eq!(world.look(2), [change("b", Standing::Alive)], "it beats again");
    }

    #[test]
    fn a_store_that_was_silent_makes_nobody_dead() {
        let mut world = World::new();
        world.now += 30_000;
        assert_eq!(world.look(1), []);
        for _ in 0..6 {
            assert_eq!(world.look(1), [], "everybody has a new start");
        }
        assert_eq!(world.look(1), [change("b", Standing::Dead)]);
    }

    #[test]
    fn few_looks_make_nobody_dead() {
        let mut liveness = Liveness::default();
        liveness.look(Mono(0), &[seen("b", 1, 1)]);
        for now in [900, 1_800, 2_700] {
            assert_eq!(liveness.look(Mono(now), &[seen("b", 1, 1)]), []);
        }
        assert_eq!(liveness.look(Mono(3_600), &[seen("b", 1, 1)]), [change("b", Standing::Dead)]);
    }

    #[test]
    fn another_boot_of_a_node_is_alive_whatever_its_counter() {
        let mut world = World::new();
        while world.liveness.standing("b") != Some(Standing::Dead) {
            world.look(1);
        }
        let next = [seen("a", 1, 99), seen("b", 2, 1)];
        assert_eq!(world.liveness.look(Mono(world.now + 300), &next), [change("b", Standing::Alive)]);
    }

    #[test]
    fn a_node_that_is_started_again_between_two_looks_is_told_of() {
        let mut liveness = Liveness::default();
        liveness.look(Mono(0), &[seen("b", 1, 9)]);
        assert_eq!(liveness.look(Mono(300), &[seen("b", 2, 1)]), [change("b", Standing::Alive)]);
        assert_eq!(liveness.look(Mono(600), &[seen("b", 2, 2)]), []);
    }

    #[test]
    fn a_node_that_leaves_is_not_dead_and_one_that_is_forgotten_is_not_known() {
        let mut world = World::new();
        let left = Seen { left: true, ..seen("b", 1, 2) };
        let both = [seen("a", 1, 99), left];
        assert_eq!(world.liveness.look(Mono(600), &both), [change("b", Standing::Left)]);
        for now in [900, 1_800, 2_700, 3_600] {
            assert_eq!(world.liveness.look(Mono(now), &[seen("a", 1, now), both[1].clone()]), []);
        }
        let forgotten = Change { name: "b".into(), standing: None };
        assert_eq!(world.liveness.look(Mono(3_900), &[seen("a", 1, 1)]), [forgotten]);
        assert_eq!(world.liveness.standing("b"), None);
    }
}
