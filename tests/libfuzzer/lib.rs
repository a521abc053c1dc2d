//! libFuzzer from inside a test.

// For what it links.
use libfuzzer_sys as _;

use std::{
    cell::Cell,
    ffi::{CString, c_char, c_int},
    mem::transmute,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{abort, exit},
    ptr::null_mut,
    slice,
};

type Property = dyn Fn(&[u8]);

thread_local! {
    // libFuzzer calls on the thread that has called it.
    static PROPERTY: Cell<Option<&'static Property>> = const { Cell::new(None) };
}

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        count: *mut c_int,
        arguments: *mut *mut *mut c_char,
        test: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

extern "C" fn test(data: *const u8, length: usize) -> c_int {
    // SAFETY: libFuzzer has that many bytes there, and says null only where there are none.
    let bytes = if length == 0 { &[] } else { unsafe { slice::from_raw_parts(data, length) } };
    let property = PROPERTY.get().expect("it is set before libFuzzer begins");
    if catch_unwind(AssertUnwindSafe(|| property(bytes))).is_err() {
        // libFuzzer keeps the input upon a signal.
        abort();
    }
    0
}

/// Tries inputs as these arguments of libFuzzer's say, and ends the process: not cleanly where the property panics.
pub fn run(arguments: &[String], property: &dyn Fn(&[u8])) {
    // SAFETY: it is used until the process ends, and this does not return.
    PROPERTY.set(Some(unsafe { transmute::<&dyn Fn(&[u8]), &'static Property>(property) }));
    let arguments = ["test"].into_iter().chain(arguments.iter().map(String::as_str));
    let owned: Vec<CString> =
        arguments.map(|text| CString::new(text).expect("no argument has a NUL")).collect();
    let mut pointers: Vec<_> = owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
    let mut count = pointers.len() as c_int;
    pointers.push(null_mut());
    // SAFETY: they are as `main` gets them, and outlive the call.
    exit(unsafe { LLVMFuzzerRunDriver(&mut count, &mut pointers.as_mut_ptr(), test) })
}
