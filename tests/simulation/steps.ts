/** How long one run of the simulation is. */

/** Steps of the scheduler in one run, when nothing else is said. */
export const STEPS = 300;
