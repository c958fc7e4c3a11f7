"""The winners of a study, trained again from fresh seeds and judged on the meta-test tasks."""
