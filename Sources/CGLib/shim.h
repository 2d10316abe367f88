#pragma once
// Nothing for Swift: from pkg-config CGStreamer gets the folders of GLib's headers.
