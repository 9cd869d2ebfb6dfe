//! A private copy of the shared object, and the way to drive it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

const LIBRARY: &str = "libfake_nvml.so";
const RTLD_NOW: c_int = 2;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

type Apply = unsafe extern "C" fn(*const u8, usize) -> usize;
type Refcount = extern "C" fn() -> u64;

/// One fake NVML: a copy of the library with devices of its own.
///
/// It stays mapped until the process ends, so its devices survive every
/// shutdown and re-initialisation.
#[derive(Debug)]
pub struct FakeNvml {
    folder: tempfile::TempDir,
    apply: Apply,
    refcount: Refcount,
}

impl FakeNvml {
    /// Copies the library that cargo built next to this test, and opens it. It
    /// starts with one idle device, `GPU-0`.
    ///
    /// # Panics
    ///
    /// If the library was not built or cannot be opened, with what to do about it.
    #[must_use]
    pub fn install() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(LIBRARY);
        std::fs::copy(find(), &path).expect("the temporary folder takes a copy");
        let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL in a path");
        // SAFETY: the library runs no code when it is opened.
        let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
        assert!(!library.is_null(), "cannot open {}", path.display());
        // SAFETY: these are the types that `exports.rs` gives the symbols.
        let (apply, refcount) = unsafe {
            (
                std::mem::transmute::<*mut c_void, Apply>(symbol(library, c"fake_nvml_apply")),
                std::mem::transmute::<*mut c_void, Refcount>(symbol(
                    library,
                    c"fake_nvml_refcount",
                )),
            )
        };
        Self {
            folder,
            apply,
            refcount,
        }
    }

    /// Where the copy lies: what a probe is told to load.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(LIBRARY)
    }

    /// Applies a script; see the crate docs for its commands.
    ///
    /// # Panics
    ///
    /// On a line that makes no sense.
    pub fn apply(&self, script: &str) {
        // SAFETY: a string slice is valid for reads of its length.
        let misunderstood = unsafe { (self.apply)(script.as_ptr(), script.len()) };
        assert_eq!(
            misunderstood, 0,
            "a line of this script makes no sense:\n{script}"
        );
    }

    /// How often the library is initialised right now.
    #[must_use]
    pub fn refcount(&self) -> u64 {
        (self.refcount)()
    }
}

/// The library that cargo built: next to the running test, or in `deps` beside
/// an example or a program.
fn find() -> PathBuf {
    let exe = std::env::current_exe().expect("a running program has a path");
    let folder = exe.parent().expect("a program lies in a folder");
    [
        folder.to_path_buf(),
        folder.join("deps"),
        folder.join("../deps"),
    ]
    .map(|folder: PathBuf| folder.join(LIBRARY))
    .into_iter()
    .find(|path| Path::exists(path))
    .expect("libfake_nvml.so is not built: run `cargo build -p fake-nvml`")
}

/// # Safety
///
/// `library` was opened and stays open.
unsafe fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the caller's promise.
    let found = unsafe { dlsym(library, name.as_ptr()) };
    assert!(
        !found.is_null(),
        "{name:?} is missing: an old build of the fake library?"
    );
    found
}
