// What matrix-js-sdk expects of its surroundings and Node 20 lacks. Imported before everything else.

Promise.withResolvers ??= function withResolvers() {
	let resolve, reject;
	const promise = new this((yes, no) => ([resolve, reject] = [yes, no]));
	return { promise, resolve, reject };
};

// Standard output belongs to the steps that the Go test reads. What the library has to say is kept, for failures.
export const murmur = [];
for (const level of ["debug", "log", "info", "warn", "error", "trace"]) {
	console[level] = (...words) => {
		const line = words.map(String).join(" ");
		if (line.includes("matrix_sdk") && level === "debug") return; // what the Rust side thinks, at length
		murmur.push(`${level} ${line}`);
		if (murmur.length > 400) murmur.shift();
	};
}
