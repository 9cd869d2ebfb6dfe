//! The pure part, against an etcd of a few lines: whatever happens in whatever order, all replicas agree.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::key::Key;
use super::state::{Event, Plan, State};
use crate::catalog::{
    Catalog, CatalogError, CheckDefinition, CheckKind, CheckStatus, KvWrite, ServiceDefinition,
    Unit,
};
use crate::{Instance, clock};

const REPLICAS: usize = 3;

#[derive(Clone)]
struct Stored {
    value: Vec<u8>,
    lease: u64,
    created: u64,
    at: u64,
}

/// Keys with revisions, transactions, leases and a log of what happened.
#[derive(Default)]
struct FakeEtcd {
    revision: u64,
    keys: BTreeMap<Key, Stored>,
    log: Vec<Vec<Event>>,
    leases: u64,
}

impl FakeEtcd {
    fn commit(&mut self, plan: &Plan) -> bool {
        let at = |key: &Key| self.keys.get(key).map_or(0, |stored| stored.at);
        if plan
            .unchanged
            .iter()
            .any(|(key, revision)| at(key) != *revision)
        {
            return false;
        }
        if plan.is_empty() {
            return true;
        }
        self.revision += 1;
        let mut events = Vec::new();
        for key in &plan.deletes {
            events.extend(self.delete(key));
        }
        for (key, value) in &plan.puts {
            events.push(self.put(key, value.clone(), 0));
        }
        for (check, _) in &plan.starts {
            self.leases += 1;
            events.push(self.put(&Key::Alive(check.clone()), Vec::new(), self.leases));
        }
        self.log.push(events);
        true
    }

    fn put(&mut self, key: &Key, value: Vec<u8>, lease: u64) -> Event {
        let created = self.keys.get(key).map_or(self.revision, |old| old.created);
        let at = self.revision;
        let stored = Stored {
            value: value.clone(),
            lease,
            created,
            at,
        };
        self.keys.insert(key.clone(), stored);
        Event {
            key: key.clone(),
            value: Some(value),
            lease,
            created,
            at,
        }
    }

    fn delete(&mut self, key: &Key) -> Option<Event> {
        self.keys.remove(key)?;
        Some(Event {
            key: key.clone(),
            value: None,
            lease: 0,
            created: 0,
            at: self.revision,
        })
    }

    /// The lease of this check ends.
    fn expire(&mut self, check: &str) {
        let key = Key::Alive(check.to_owned());
        if self.keys.contains_key(&key) {
            self.revision += 1;
            let event = self.delete(&key);
            self.log.push(event.into_iter().collect());
        }
    }

    fn everything(&self) -> Vec<Event> {
        let event = |(key, stored): (&Key, &Stored)| Event {
            key: key.clone(),
            value: Some(stored.value.clone()),
            lease: stored.lease,
            created: stored.created,
            at: stored.at,
        };
        self.keys.iter().map(event).collect()
    }
}

#[derive(Default)]
struct Replica {
    state: State,
    catalog: Catalog,
    /// How much of the log it has seen.
    seen: usize,
}

impl Replica {
    fn list(&mut self, etcd: &FakeEtcd, now: Instant) -> Vec<Unit> {
        self.seen = etcd.log.len();
        self.state
            .list(&mut self.catalog, etcd.everything(), etcd.revision, now)
    }

    /// Takes in up to `most` transactions, all in one message.
    fn follow(&mut self, etcd: &FakeEtcd, most: usize, now: Instant) {
        let end = self.seen.saturating_add(most).min(etcd.log.len());
        let events = etcd.log[self.seen..end].concat();
        self.seen = end;
        self.state.apply(&mut self.catalog, events, now);
    }

    fn instances(&self) -> Vec<Instance> {
        let names = self.catalog.names();
        let all = names
            .keys()
            .flat_map(|name| self.catalog.instances(name, "127.0.0.1"));
        all.collect()
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Register {
        replica: usize,
        id: u8,
        port: i64,
    },
    Report {
        replica: usize,
        id: u8,
        status: CheckStatus,
    },
    Maintain {
        replica: usize,
        id: u8,
        on: bool,
    },
    Deregister {
        replica: usize,
        id: u8,
    },
    Key {
        replica: usize,
        id: u8,
    },
    Expire {
        id: u8,
    },
    Follow {
        replica: usize,
        most: usize,
    },
    List {
        replica: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (replica, id) = (0..REPLICAS, 0u8..4);
    let status = prop_oneof![
        Just(CheckStatus::Passing),
        Just(CheckStatus::Warning),
        Just(CheckStatus::Critical)
    ];
    let step =
        prop_oneof![
            (replica.clone(), id.clone(), 1i64..3).prop_map(|(replica, id, port)| Step::Register {
                replica,
                id,
                port
            }),
            (replica.clone(), id.clone(), status).prop_map(|(replica, id, status)| Step::Report {
                replica,
                id,
                status
            }),
            (replica.clone(), id.clone(), any::<bool>())
                .prop_map(|(replica, id, on)| Step::Maintain { replica, id, on }),
            (replica.clone(), id.clone())
                .prop_map(|(replica, id)| Step::Deregister { replica, id }),
            (replica.clone(), id.clone()).prop_map(|(replica, id)| Step::Key { replica, id }),
            id.prop_map(|id| Step::Expire { id }),
            (replica.clone(), 0usize..4).prop_map(|(replica, most)| Step::Follow { replica, most }),
            replica.prop_map(|replica| Step::List { replica }),
        ];
    prop::collection::vec(step, 1..60)
}

fn check(id: u8) -> String {
    format!("service:i{id}")
}

fn definition(id: u8, port: i64) -> (ServiceDefinition, Vec<CheckDefinition>) {
    let service = ServiceDefinition {
        port,
        ..ServiceDefinition::new(format!("s{}", id % 2), format!("i{id}"))
    };
    let ttl = CheckDefinition::new(CheckKind::Ttl {
        ttl: Duration::from_secs(5),
    });
    (service, vec![ttl.status(CheckStatus::Passing)])
}

struct World {
    etcd: FakeEtcd,
    replicas: Vec<Replica>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let (etcd, now) = (
            FakeEtcd {
                revision: 1,
                ..FakeEtcd::default()
            },
            clock::now(),
        );
        let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::default()).collect();
        for replica in &mut replicas {
            replica.list(&etcd, now);
        }
        Self {
            etcd,
            replicas,
            now,
        }
    }

    /// As a writer does: plan, commit, and if somebody else came first, follow and try again.
    fn write(
        &mut self,
        replica: usize,
        unit: Unit,
        mut change: impl FnMut(&mut Catalog, Instant) -> Result<(), CatalogError> + Send,
    ) {
        let (replica, now) = (&mut self.replicas[replica], self.now);
        let (units, mut is_current) = ([unit], false);
        loop {
            let plan = replica
                .state
                .plan(&replica.catalog, &units, &mut change, now);
            match plan {
                Ok(plan) if !plan.is_idle() => {
                    if plan.is_empty() || self.etcd.commit(&plan) {
                        return;
                    }
                }
                _ if is_current => return,
                // Perhaps it only has not heard the latest.
                _ => is_current = true,
            }
            replica.follow(&self.etcd, usize::MAX, now);
        }
    }

    fn take(&mut self, step: Step) {
        let service = |id: u8| Unit::Service(format!("i{id}"));
        match step {
            Step::Register { replica, id, port } => {
                let (definition, checks) = definition(id, port);
                self.write(replica, service(id), |catalog, now| {
                    catalog.register(definition.clone(), checks.clone(), false, now)
                });
            }
            Step::Report {
                replica,
                id,
                status,
            } => {
                self.write(replica, service(id), |catalog, now| {
                    catalog.report(&check(id), status, status.as_str(), now)
                });
            }
            Step::Maintain { replica, id, on } => {
                self.write(replica, service(id), |catalog, now| {
                    catalog.set_maintenance(&format!("i{id}"), on.then_some("why"), now)
                });
            }
            Step::Deregister { replica, id } => {
                self.write(replica, service(id), |catalog, now| {
                    catalog.deregister(&format!("i{id}"), now)
                });
            }
            Step::Key { replica, id } => {
                self.write(replica, Unit::Key(format!("k{id}")), |catalog, now| {
                    catalog
                        .put_key(&format!("k{id}"), vec![id], 0, KvWrite::Always, now)
                        .map(drop)
                });
            }
            Step::Expire { id } => self.etcd.expire(&check(id)),
            Step::Follow { replica, most } => {
                self.replicas[replica].follow(&self.etcd, most, self.now);
            }
            Step::List { replica } => drop(self.replicas[replica].list(&self.etcd, self.now)),
        }
    }

    fn settle(&mut self) {
        for replica in &mut self.replicas {
            replica.follow(&self.etcd, usize::MAX, self.now);
        }
    }
}

proptest! {
    /// Whoever changes what and however late the others hear of it: in the end all hold the same, and one that comes
    /// fresh holds the same as those that were there all the time.
    #[test]
    fn replicas_agree_in_the_end(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let mut fresh = Replica::default();
        fresh.list(&world.etcd, world.now);
        let keys = |replica: &Replica| -> Vec<(String, u64)> {
            replica.catalog.keys("").map(|(key, entry)| (key.to_owned(), entry.modify_index)).collect()
        };
        for replica in &world.replicas {
            prop_assert_eq!(replica.instances(), fresh.instances());
            prop_assert_eq!(keys(replica), keys(&fresh));
        }
    }

    /// An index never goes back, and where the set differs the index has moved: no blocked query sleeps through a change.
    #[test]
    fn no_change_goes_without_a_new_index(steps in steps()) {
        let mut world = World::new();
        let look = |world: &World| -> Vec<(Vec<Instance>, u64)> {
            let one = |replica: &Replica| (replica.catalog.instances("s0", ""), replica.catalog.indexes().service("s0"));
            world.replicas.iter().map(one).collect()
        };
        let mut before = look(&world);
        for step in steps {
            world.take(step);
            let after = look(&world);
            for (old, new) in before.iter().zip(&after) {
                prop_assert!(new.1 >= old.1, "{step:?}: {} after {}", new.1, old.1);
                prop_assert!(new.0 == old.0 || new.1 > old.1, "{step:?}: {old:?} {new:?}");
            }
            before = after;
        }
    }
}

#[test]
fn one_that_has_not_heard_of_the_end_of_a_lease_does_not_bring_the_service_back() {
    let mut world = World::new();
    world.take(Step::Register {
        replica: 0,
        id: 0,
        port: 1,
    });
    world.settle();
    world.etcd.expire(&check(0));
    // The second replica still believes that it passes.
    world.take(Step::Maintain {
        replica: 1,
        id: 0,
        on: true,
    });
    world.take(Step::Maintain {
        replica: 1,
        id: 0,
        on: false,
    });
    world.settle();
    for replica in &world.replicas {
        assert_eq!(replica.instances()[0].status, crate::Status::Critical);
    }
}

#[test]
fn an_etcd_that_has_forgotten_everything_is_filled_again_and_indexes_still_grow() {
    let mut world = World::new();
    for port in 1..6 {
        world.take(Step::Register {
            replica: 0,
            id: 0,
            port,
        });
    }
    world.settle();
    let index = world.replicas[1].catalog.indexes().service("s0");
    world.etcd = FakeEtcd {
        revision: 1,
        ..FakeEtcd::default()
    };
    for number in 0..REPLICAS {
        let replica = &mut world.replicas[number];
        for unit in replica.list(&world.etcd, world.now) {
            let plan = replica
                .state
                .plan_again(&replica.catalog, &unit)
                .expect("it is there");
            world.etcd.commit(&plan);
        }
    }
    world.settle();
    world.take(Step::Register {
        replica: 2,
        id: 2,
        port: 9,
    });
    world.settle();
    for replica in &world.replicas {
        assert_eq!(replica.instances().len(), 2);
        assert!(replica.catalog.indexes().service("s0") > index);
    }
}

#[tokio::test]
async fn until_etcd_has_answered_nobody_is_told_that_nobody_is_there() {
    use crate::Discovery;
    let store = crate::InProcess::default();
    let etcd = super::Etcd::new(["http://127.0.0.1:1"]).expect("a URL");
    let replica = etcd.share(&store).expect("it is not shared yet");
    assert!(store.watch("s0").latest().is_pending());
    assert!(!replica.is_leader());
    let again = super::Etcd::new(["http://127.0.0.1:1"]).expect("a URL");
    assert_eq!(again.share(&store).err(), Some(super::AlreadyShared));
}

#[test]
fn a_heartbeat_that_says_nothing_new_writes_nothing() {
    let mut world = World::new();
    world.take(Step::Register {
        replica: 0,
        id: 0,
        port: 1,
    });
    world.settle();
    world.take(Step::Report {
        replica: 1,
        id: 0,
        status: CheckStatus::Passing,
    });
    world.settle();
    let revision = world.etcd.revision;
    let replica = &world.replicas[2];
    let mut beat = |catalog: &mut Catalog, now: Instant| {
        catalog.report(&check(0), CheckStatus::Passing, "passing", now)
    };
    let units = [Unit::Service("i0".into())];
    let plan = replica
        .state
        .plan(&replica.catalog, &units, &mut beat, world.now)
        .expect("it is known");
    assert!(plan.is_empty());
    assert_eq!(plan.renewals, [1]);
    assert_eq!(world.etcd.revision, revision);
}
