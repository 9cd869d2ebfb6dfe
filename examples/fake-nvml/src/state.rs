//! What the fake driver knows, and the script that changes it. No unsafe code here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) const OK: u32 = 0;
pub(crate) const UNINITIALIZED: u32 = 1;
pub(crate) const INVALID_ARGUMENT: u32 = 2;
pub(crate) const NOT_SUPPORTED: u32 = 3;
pub(crate) const NOT_FOUND: u32 = 6;
pub(crate) const INSUFFICIENT_SIZE: u32 = 7;
pub(crate) const TIMEOUT: u32 = 10;
pub(crate) const GPU_IS_LOST: u32 = 15;

/// Handles are `serial * SLICES + slice + 1`; slice part 0 is the whole device.
const SLICES: usize = 64;
const GIB: u64 = 1 << 30;

/// Numbers of a fresh device: an idle data centre card.
const DEFAULTS: [(&str, u64); 19] = [
    ("busy", 0),
    ("membus", 0),
    ("memory_total", 80 * GIB),
    ("memory_reserved", GIB / 2),
    ("memory_used", 0),
    ("temperature", 30),
    ("power_mw", 70_000),
    ("power_limit_mw", 700_000),
    ("energy_mj", 0),
    ("sm_mhz", 345),
    ("sm_max_mhz", 1_980),
    ("memory_mhz", 2_619),
    ("throttle", 1),
    ("encoder", 0),
    ("decoder", 0),
    ("ecc_corrected_volatile", 0),
    ("ecc_uncorrected_volatile", 0),
    ("ecc_corrected_aggregate", 0),
    ("ecc_uncorrected_aggregate", 0),
];

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) refcount: u64,
    pub(crate) driver: String,
    pub(crate) gpus: Vec<Gpu>,
    next_serial: usize,
    returns: HashMap<(String, String), u32>,
    hanging: HashSet<String>,
    script_file: Option<String>,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) serial: usize,
    pub(crate) name: String,
    pub(crate) values: HashMap<String, u64>,
    pub(crate) fields: BTreeMap<u32, u64>,
    pub(crate) processes: Vec<Process>,
    pub(crate) mig_max: u32,
    pub(crate) slices: Vec<u32>,
    pub(crate) xids: VecDeque<u64>,
}

/// A process on a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) bytes: Option<u64>,
    pub(crate) slice: Option<u32>,
}

/// What a device handle stands for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) gpu: &'a mut Gpu,
    pub(crate) slice: Option<u32>,
}

/// Runs with the state; the fake starts with one idle device.
pub(crate) fn with<T>(run: impl FnOnce(&mut State) -> T) -> T {
    let mut guard: MutexGuard<'_, Option<State>> =
        STATE.lock().unwrap_or_else(PoisonError::into_inner);
    run(guard.get_or_insert_with(State::new))
}

/// Enters one call: waits while it is scripted to hang, then looks for a
/// scripted answer, then for an initialised library.
pub(crate) fn enter(symbol: &str) -> Result<(), u32> {
    while with(|state| state.hanging.contains(symbol)) {
        std::thread::sleep(Duration::from_millis(2));
    }
    with(|state| match state.scripted(symbol, "*") {
        Some(code) => Err(code),
        None if state.refcount == 0 && !symbol.starts_with("nvmlInit") => Err(UNINITIALIZED),
        None => Ok(()),
    })
}

/// Answers a call about one device.
pub(crate) fn answer(
    symbol: &str,
    handle: usize,
    give: impl FnOnce(Target<'_>) -> Result<(), u32>,
) -> u32 {
    let answered = enter(symbol).and_then(|()| {
        with(|state| {
            let serial = handle / SLICES;
            let at = state
                .gpus
                .iter()
                .position(|gpu| gpu.serial == serial)
                .ok_or(GPU_IS_LOST)?;
            let name = state.gpus[at].name.clone();
            if let Some(code) = state.scripted(symbol, &name) {
                return Err(code);
            }
            let slice = (handle % SLICES).checked_sub(1).map(|slice| slice as u32);
            give(Target {
                gpu: &mut state.gpus[at],
                slice,
            })
        })
    });
    answered.err().unwrap_or(OK)
}

impl State {
    fn new() -> Self {
        let mut state = Self {
            refcount: 0,
            driver: "580.159.03".into(),
            gpus: Vec::new(),
            next_serial: 1,
            returns: HashMap::new(),
            hanging: HashSet::new(),
            script_file: None,
        };
        state.add("GPU-0");
        state
    }

    /// Applies the script file, if one is named and has changed.
    pub(crate) fn follow_script_file(&mut self) {
        let Some(path) = std::env::var_os("FAKE_NVML_SCRIPT") else {
            return;
        };
        let Ok(script) = std::fs::read_to_string(path) else {
            return;
        };
        if self.script_file.as_deref() != Some(&script) {
            // A bad line has nobody to complain to here; the lines before it count.
            let _ = self.apply(&script);
            self.script_file = Some(script);
        }
    }

    /// Applies a script. The error is the line that was not understood.
    pub(crate) fn apply(&mut self, script: &str) -> Result<(), String> {
        for line in script.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            self.command(&words).ok_or_else(|| line.to_owned())?;
        }
        Ok(())
    }

    fn command(&mut self, words: &[&str]) -> Option<()> {
        match *words {
            ["devices", count] => {
                self.gpus.clear();
                (0..count.parse::<usize>().ok()?).for_each(|n| self.add(&format!("GPU-{n}")));
            }
            ["add", name] => self.add(name),
            ["remove", name] => self.gpus.retain(|gpu| gpu.name != name),
            ["set", name, key, value] => {
                *self.gpu(name)?.values.get_mut(key)? = value.parse().ok()?;
            }
            ["field", name, id, value] => {
                self.gpu(name)?
                    .fields
                    .insert(id.parse().ok()?, value.parse().ok()?);
            }
            ["process", name, pid, bytes, ref slice @ ..] => {
                let process = Process {
                    pid: pid.parse().ok()?,
                    bytes: if bytes == "-" {
                        None
                    } else {
                        Some(bytes.parse().ok()?)
                    },
                    slice: slice.first().and_then(|slice| slice.parse().ok()),
                };
                self.gpu(name)?.processes.push(process);
            }
            ["idle", name] => self.gpu(name)?.processes.clear(),
            ["mig", name, max, ref slices @ ..] => {
                let gpu = self.gpu(name)?;
                gpu.mig_max = max.parse().ok()?;
                gpu.slices = slices
                    .iter()
                    .map(|slice| slice.parse().ok())
                    .collect::<Option<_>>()?;
            }
            ["xid", name, number] => self.gpu(name)?.xids.push_back(number.parse().ok()?),
            ["return", name, symbol, code] => {
                self.returns
                    .insert((name.into(), symbol.into()), code.parse().ok()?);
            }
            ["hang", symbol] => drop(self.hanging.insert(symbol.into())),
            ["let-go", symbol] => drop(self.hanging.remove(symbol)),
            ["driver", version] => self.driver = version.into(),
            _ => return None,
        }
        Some(())
    }

    fn add(&mut self, name: &str) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.gpus.push(Gpu {
            serial,
            name: name.into(),
            values: DEFAULTS
                .iter()
                .map(|(key, value)| ((*key).into(), *value))
                .collect(),
            fields: BTreeMap::new(),
            processes: Vec::new(),
            mig_max: 0,
            slices: Vec::new(),
            xids: VecDeque::new(),
        });
    }

    fn gpu(&mut self, name: &str) -> Option<&mut Gpu> {
        self.gpus.iter_mut().find(|gpu| gpu.name == name)
    }

    fn scripted(&self, symbol: &str, name: &str) -> Option<u32> {
        let key = (name.to_owned(), symbol.to_owned());
        self.returns.get(&key).copied().filter(|code| *code != OK)
    }
}

impl Gpu {
    pub(crate) fn handle(&self) -> usize {
        self.serial * SLICES
    }

    pub(crate) fn slice_handle(&self, slice: u32) -> usize {
        self.handle() + slice as usize + 1
    }

    /// A number of the device; the keys are those of the defaults.
    pub(crate) fn value(&self, key: &str) -> u64 {
        self.values.get(key).copied().unwrap_or_default()
    }
}

impl Target<'_> {
    /// The device's UUID, or the slice's.
    pub(crate) fn uuid(&self) -> String {
        match self.slice {
            Some(slice) => format!("MIG-{}-{slice}", self.gpu.name),
            None => self.gpu.name.clone(),
        }
    }

    /// Refuses what slices, and devices cut into slices, cannot tell.
    pub(crate) fn whole(&self) -> Result<(), u32> {
        if self.slice.is_some() || self.gpu.mig_max > 0 {
            Err(NOT_SUPPORTED)
        } else {
            Ok(())
        }
    }

    /// The processes that this handle sees.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let seen = |process: &&Process| self.slice.is_none() || process.slice == self.slice;
        self.gpu.processes.iter().filter(seen).copied().collect()
    }
}
