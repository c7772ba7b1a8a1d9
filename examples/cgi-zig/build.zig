const std = @import("std");

pub fn build(b: *std.Build) void {
    const optimize = b.standardOptimizeOption(.{});
    const function = b.addExecutable(.{
        .name = "cgi-zig",
        .root_module = b.createModule(.{
            .root_source_file = b.path("src/main.zig"),
            // A function has one target, whatever machine builds it.
            .target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .wasi }),
            .optimize = optimize,
            .strip = true,
        }),
    });
    b.installArtifact(function);
}
