import Dispatch
package import Foundation
import Synchronization

/// What is to be undone when the program is told to stop (Ctrl-C, `kill`): half-written outputs.
///
/// The work itself need not notice: a block may take minutes, and the process ends at once.
package enum Interruption {
  /// A lock that the work holds while it touches what the undoing touches too.
  package static let lock = NSLock()

  private static let undo = Mutex<(@Sendable () -> Void)?>(nil)
  private static let farewell = Mutex("what was not saved is lost.")
  private static let request = Mutex<(@Sendable (Int32) -> Void)?>(nil)
  private static let sources = Mutex<[any DispatchSourceSignal]>([])

  /// From now on SIGINT, SIGTERM and SIGHUP (a closed terminal) run `undo` and end the process with 128 more than their number; a
  /// second one ends it without waiting.
  ///
  /// - Parameter farewell: what is said then, after "Stopped; ".
  package static func onStop(
    saying farewell: String = "nothing was left behind.", _ undo: @escaping @Sendable () -> Void
  ) {
    self.farewell.withLock { $0 = farewell }
    self.undo.withLock { $0 = undo }
    listen()
  }

  /// From now on the first such signal only asks for the work's own end; the next one ends the process as above.
  ///
  /// - Parameters:
  ///   - words: what is said then, after "Stopping; ".
  ///   - request: is given the signal's number.
  package static func onRequest(saying words: String, _ request: @escaping @Sendable (Int32) -> Void) {
    self.request.withLock {
      $0 = {
        Terminal.error("livetalk: Stopping; \(words)")
        request($0)
      }
    }
    listen()
  }

  private static func listen() {
    sources.withLock { sources in
      guard sources.isEmpty else { return }
      for number in [SIGINT, SIGTERM, SIGHUP] {
        // What `nohup` starts is to outlive its terminal.
        let before = signal(number, SIG_IGN)
        let isIgnored = unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
        if number == SIGHUP, isIgnored { continue }
        // A parent may have started us with it blocked: it would wait for ever.
        var mask = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, number)
        pthread_sigmask(SIG_UNBLOCK, &mask, nil)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global(qos: .userInitiated))
        source.setEventHandler { stop(number) }
        source.resume()
        sources.append(source)
      }
    }
  }

  /// Nothing is left to undo.
  package static func forget() { undo.withLock { $0 = nil } }

  /// Undoes what is half done; for a program that ends.
  package static func undoAll() {
    // A write that hangs, to a pipe that nobody reads, must not keep the program from ending.
    let isFree = lock.lock(before: Date().addingTimeInterval(2))
    let undo = self.undo.withLock { $0 }
    if isFree { undo?() }
  }

  private static func stop(_ number: Int32) {
    if Terminal.errorIsTerminal { Terminal.write("\n") }
    let request = self.request.withLock { request in
      defer { request = nil }
      return request
    }
    if let request { return request(number) }
    undoAll()
    Terminal.error("livetalk: Stopped; \(farewell.withLock { $0 })")
    _exit(128 + number)
  }
}
