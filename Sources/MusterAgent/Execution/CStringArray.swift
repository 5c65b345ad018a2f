import Glibc

/// A NULL-terminated array of C strings for the length of a call, as exec(3) and posix_spawn(3) want it.
enum CStringArray {
    static func with<T>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers)
    }
}
