-- A database of revision 0003 on PostgreSQL, as pg_dump --inserts wrote it, without comments.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
CREATE TYPE public.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE public.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE public.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE public.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
SET default_tablespace = '';
CREATE TABLE public.adai_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.adai_attempts (
    id integer NOT NULL,
    study_id integer NOT NULL,
    workload character varying(64) NOT NULL,
    optimizer character varying(64) NOT NULL,
    runs integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    termination character varying(16),
    error text,
    worker character varying(255),
    host character varying(255),
    pid bigint,
    device character varying(64),
    engine character varying(64),
    torch_version character varying(64),
    driver character varying(320),
    environment_hash character varying(64),
    heartbeat_at timestamp with time zone,
    tries integer,
    first_epoch integer
);
CREATE SEQUENCE public.adai_attempts_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_attempts_id_seq OWNED BY public.adai_attempts.id;
CREATE TABLE public.adai_curvature (
    run_id integer NOT NULL,
    epoch integer NOT NULL,
    "values" json NOT NULL
);
CREATE TABLE public.adai_environments (
    id integer NOT NULL,
    hash character varying(64) NOT NULL,
    details json NOT NULL
);
CREATE SEQUENCE public.adai_environments_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_environments_id_seq OWNED BY public.adai_environments.id;
CREATE TABLE public.adai_epochs (
    run_id integer NOT NULL,
    epoch integer NOT NULL,
    train_loss double precision,
    val_loss double precision,
    val_error double precision,
    lr double precision NOT NULL,
    seconds double precision NOT NULL,
    grad_norm double precision
);
CREATE TABLE public.adai_logs (
    id integer NOT NULL,
    study_id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    level character varying(16) NOT NULL,
    event character varying(64) NOT NULL,
    details json NOT NULL
);
CREATE SEQUENCE public.adai_logs_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_logs_id_seq OWNED BY public.adai_logs.id;
CREATE TABLE public.adai_plans (
    id integer NOT NULL,
    study_id integer NOT NULL,
    workload character varying(64) NOT NULL,
    engine character varying(32) NOT NULL,
    max_rows integer NOT NULL,
    reason text NOT NULL,
    device character varying(64) NOT NULL
);
CREATE SEQUENCE public.adai_plans_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_plans_id_seq OWNED BY public.adai_plans.id;
CREATE TABLE public.adai_runs (
    id integer NOT NULL,
    trial_id integer NOT NULL,
    seed integer NOT NULL,
    termination character varying(16),
    reason text,
    epochs integer,
    objective double precision,
    at_chance boolean,
    train_loss double precision,
    val_loss double precision,
    val_error double precision,
    test_loss double precision,
    test_error double precision,
    seconds double precision,
    attempt_id integer,
    steps_to_target integer,
    seconds_to_target double precision,
    peak_memory bigint
);
CREATE SEQUENCE public.adai_runs_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_runs_id_seq OWNED BY public.adai_runs.id;
CREATE TABLE public.adai_studies (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    spec json NOT NULL,
    spec_hash character varying(64) NOT NULL,
    state character varying(16) NOT NULL,
    driver character varying(320),
    environment_id integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    beat bigint DEFAULT '0'::bigint NOT NULL,
    queued_at timestamp with time zone,
    error text
);
CREATE SEQUENCE public.adai_studies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_studies_id_seq OWNED BY public.adai_studies.id;
CREATE TABLE public.adai_trials (
    id integer NOT NULL,
    study_id integer NOT NULL,
    workload character varying(64) NOT NULL,
    optimizer character varying(64) NOT NULL,
    number integer NOT NULL,
    origin character varying(16) NOT NULL,
    hyperparameters json NOT NULL,
    unit json NOT NULL,
    optuna_trial_id integer NOT NULL,
    round integer DEFAULT 0 NOT NULL
);
CREATE SEQUENCE public.adai_trials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_trials_id_seq OWNED BY public.adai_trials.id;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE public.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_study_id_seq OWNED BY public.studies.study_id;
CREATE TABLE public.study_directions (
    study_direction_id integer NOT NULL,
    direction public.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE public.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_directions_study_direction_id_seq OWNED BY public.study_directions.study_direction_id;
CREATE TABLE public.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_system_attributes_study_system_attribute_id_seq OWNED BY public.study_system_attributes.study_system_attribute_id;
CREATE TABLE public.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_user_attributes_study_user_attribute_id_seq OWNED BY public.study_user_attributes.study_user_attribute_id;
CREATE TABLE public.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq OWNED BY public.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE public.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type public.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY public.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE public.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE public.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_params_param_id_seq OWNED BY public.trial_params.param_id;
CREATE TABLE public.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq OWNED BY public.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE public.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq OWNED BY public.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE public.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type public.trialvaluetype NOT NULL
);
CREATE SEQUENCE public.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_values_trial_value_id_seq OWNED BY public.trial_values.trial_value_id;
CREATE TABLE public.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state public.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE public.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_trial_id_seq OWNED BY public.trials.trial_id;
CREATE TABLE public.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
ALTER TABLE ONLY public.adai_attempts ALTER COLUMN id SET DEFAULT nextval('public.adai_attempts_id_seq'::regclass);
ALTER TABLE ONLY public.adai_environments ALTER COLUMN id SET DEFAULT nextval('public.adai_environments_id_seq'::regclass);
ALTER TABLE ONLY public.adai_logs ALTER COLUMN id SET DEFAULT nextval('public.adai_logs_id_seq'::regclass);
ALTER TABLE ONLY public.adai_plans ALTER COLUMN id SET DEFAULT nextval('public.adai_plans_id_seq'::regclass);
ALTER TABLE ONLY public.adai_runs ALTER COLUMN id SET DEFAULT nextval('public.adai_runs_id_seq'::regclass);
ALTER TABLE ONLY public.adai_studies ALTER COLUMN id SET DEFAULT nextval('public.adai_studies_id_seq'::regclass);
ALTER TABLE ONLY public.adai_trials ALTER COLUMN id SET DEFAULT nextval('public.adai_trials_id_seq'::regclass);
ALTER TABLE ONLY public.studies ALTER COLUMN study_id SET DEFAULT nextval('public.studies_study_id_seq'::regclass);
ALTER TABLE ONLY public.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('public.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY public.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('public.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('public.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('public.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY public.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('public.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY public.trial_params ALTER COLUMN param_id SET DEFAULT nextval('public.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY public.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('public.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('public.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('public.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN trial_id SET DEFAULT nextval('public.trials_trial_id_seq'::regclass);
INSERT INTO public.adai_alembic_version VALUES ('0003');
INSERT INTO public.adai_attempts VALUES (1, 1, 'digits-logistic', 'adai', 10, '2026-11-26 04:21:09.917946+00', '2026-11-26 04:21:10.142288+00', 'COMPLETED', NULL, 'inline', 'vm', 3559, 'cpu', 'stacked, compiled step', '2.14.1+cu130', 'vm#4026531836:3559:2713684', '91e83f8e95d410e2e2c537056b794148e43e18a3356536b17b0d11fe791685df', NULL, 1, 0);
INSERT INTO public.adai_attempts VALUES (2, 1, 'digits-logistic', 'sgd', 10, '2026-11-26 04:21:09.9274+00', '2026-11-26 04:21:10.304535+00', 'COMPLETED', NULL, 'inline', 'vm', 3559, 'cpu', 'stacked, compiled step', '2.14.1+cu130', 'vm#4026531836:3559:2713684', '91e83f8e95d410e2e2c537056b794148e43e18a3356536b17b0d11fe791685df', NULL, 1, 0);
INSERT INTO public.adai_attempts VALUES (3, 2, 'digits-logistic', 'adai', 10, '2026-11-26 04:21:10.450392+00', '2026-11-26 04:21:10.638837+00', 'COMPLETED', NULL, 'inline', 'vm', 3559, 'cpu', 'stacked, compiled step', '2.14.1+cu130', 'vm#4026531836:3559:2713684', '91e83f8e95d410e2e2c537056b794148e43e18a3356536b17b0d11fe791685df', NULL, 1, 0);
INSERT INTO public.adai_attempts VALUES (4, 2, 'digits-logistic', 'sgd', 10, '2026-11-26 04:21:10.452834+00', '2026-11-26 04:21:10.651171+00', 'CANCELLED', 'the driver ended before this attempt did', NULL, NULL, NULL, NULL, NULL, NULL, 'vm#4026531836:3559:2713684', '91e83f8e95d410e2e2c537056b794148e43e18a3356536b17b0d11fe791685df', NULL, 1, 0);
INSERT INTO public.adai_curvature VALUES (1, 2, '{"loss": 0.6084336042404175, "gradient_norm": 0.5528322159486431, "top_eigenvalue": 1.9393587844142561, "top_eigenvalue_residual": 0.00017299370419282046, "bottom_eigenvalue": 0.0007135383510558955, "bottom_eigenvalue_residual": 0.006003469104170303, "trace": 7.751755851045891, "trace_standard_error": 0.39283479885422323, "sam_sharpness": 0.028806328773498535, "asam_sharpness": 0.11734616756439209, "examples": 20, "hessian_vector_products": 25}');
INSERT INTO public.adai_curvature VALUES (3, 2, '{"loss": 2.0479836463928223, "gradient_norm": 1.1341429634856919, "top_eigenvalue": 1.3539409155958846, "top_eigenvalue_residual": 9.086032763765269e-05, "bottom_eigenvalue": 7.586186383412998e-05, "bottom_eigenvalue_residual": 0.0022723747990653765, "trace": 14.674737575505105, "trace_standard_error": 0.48672223431977174, "sam_sharpness": 0.057889461517333984, "asam_sharpness": 0.051835060119628906, "examples": 20, "hessian_vector_products": 34}');
INSERT INTO public.adai_curvature VALUES (5, 2, '{"loss": 0.9879123568534851, "gradient_norm": 0.38412760576057103, "top_eigenvalue": 0.759473959840832, "top_eigenvalue_residual": 3.746692604809902e-05, "bottom_eigenvalue": 2.6555992814127993e-05, "bottom_eigenvalue_residual": 0.0003751298608378381, "trace": 1.9863554705432052, "trace_standard_error": 0.02911547550806217, "sam_sharpness": 0.0193750262260437, "asam_sharpness": 0.5795708298683167, "examples": 20, "hessian_vector_products": 25}');
INSERT INTO public.adai_curvature VALUES (7, 2, '{"loss": 0.6145994067192078, "gradient_norm": 0.5374649612702002, "top_eigenvalue": 0.43871053397696014, "top_eigenvalue_residual": 3.559752332350893e-05, "bottom_eigenvalue": 1.8074377556852837e-05, "bottom_eigenvalue_residual": 0.00037394906693572014, "trace": 0.8900665372301723, "trace_standard_error": 0.010558789556846923, "sam_sharpness": 0.027107954025268555, "asam_sharpness": 0.5730453133583069, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (9, 2, '{"loss": 1.7833608388900757, "gradient_norm": 1.0876241250531538, "top_eigenvalue": 1.4743532895130482, "top_eigenvalue_residual": 6.139574976302192e-05, "bottom_eigenvalue": 0.00014662783195611276, "bottom_eigenvalue_residual": 0.004018202215674439, "trace": 14.259314199791248, "trace_standard_error": 0.31482673041059234, "sam_sharpness": 0.055612921714782715, "asam_sharpness": 0.06301629543304443, "examples": 20, "hessian_vector_products": 31}');
INSERT INTO public.adai_curvature VALUES (2, 2, '{"loss": 0.6696494817733765, "gradient_norm": 0.6258688480308435, "top_eigenvalue": 1.7778178145176184, "top_eigenvalue_residual": 0.00010221817840892991, "bottom_eigenvalue": 0.0005008465556079884, "bottom_eigenvalue_residual": 0.003328371847316654, "trace": 7.850832224030546, "trace_standard_error": 0.2601714804468943, "sam_sharpness": 0.03241753578186035, "asam_sharpness": 0.1334667205810547, "examples": 20, "hessian_vector_products": 26}');
INSERT INTO public.adai_curvature VALUES (4, 2, '{"loss": 2.058809995651245, "gradient_norm": 1.1314605228138686, "top_eigenvalue": 1.428995778328304, "top_eigenvalue_residual": 2.0878678642012787e-05, "bottom_eigenvalue": 9.694145751265598e-05, "bottom_eigenvalue_residual": 0.0016866623478872759, "trace": 13.956817436141076, "trace_standard_error": 0.29064770043908406, "sam_sharpness": 0.05775022506713867, "asam_sharpness": 0.04855656623840332, "examples": 20, "hessian_vector_products": 33}');
INSERT INTO public.adai_curvature VALUES (6, 2, '{"loss": 0.7313805222511292, "gradient_norm": 0.5852376505994743, "top_eigenvalue": 1.1020309489492353, "top_eigenvalue_residual": 8.641852765361053e-05, "bottom_eigenvalue": 2.5840492624010205e-05, "bottom_eigenvalue_residual": 0.0006687765458611043, "trace": 2.1754279099157805, "trace_standard_error": 0.0340742576527533, "sam_sharpness": 0.02982151508331299, "asam_sharpness": 0.5000306963920593, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (8, 2, '{"loss": 0.3373636305332184, "gradient_norm": 0.4520472725448728, "top_eigenvalue": 0.3655413269231864, "top_eigenvalue_residual": 1.1635275106365177e-06, "bottom_eigenvalue": 8.39870980209608e-06, "bottom_eigenvalue_residual": 0.0003072750261236855, "trace": 0.7288435004019421, "trace_standard_error": 0.01229557940299233, "sam_sharpness": 0.022814422845840454, "asam_sharpness": 0.5110230147838593, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (10, 2, '{"loss": 1.7479407787322998, "gradient_norm": 1.05542796322679, "top_eigenvalue": 1.5802440473228963, "top_eigenvalue_residual": 4.466415383867986e-05, "bottom_eigenvalue": 0.00017637975693031555, "bottom_eigenvalue_residual": 0.0027935956960652005, "trace": 14.313868754488965, "trace_standard_error": 0.3439437401437061, "sam_sharpness": 0.053978800773620605, "asam_sharpness": 0.059670329093933105, "examples": 20, "hessian_vector_products": 32}');
INSERT INTO public.adai_curvature VALUES (11, 2, '{"loss": 0.7385951280593872, "gradient_norm": 0.7020290984313843, "top_eigenvalue": 2.0305344746172884, "top_eigenvalue_residual": 2.1915731147917363e-05, "bottom_eigenvalue": 0.0005644470197716057, "bottom_eigenvalue_residual": 0.0050512234235981415, "trace": 8.652121371506208, "trace_standard_error": 0.302880657558258, "sam_sharpness": 0.03649383783340454, "asam_sharpness": 0.13139790296554565, "examples": 20, "hessian_vector_products": 26}');
INSERT INTO public.adai_curvature VALUES (13, 2, '{"loss": 2.0602877140045166, "gradient_norm": 1.1558800574488963, "top_eigenvalue": 1.4464703647707178, "top_eigenvalue_residual": 1.9781530373921186e-05, "bottom_eigenvalue": 7.643818953953274e-05, "bottom_eigenvalue_residual": 0.0009637798853378275, "trace": 14.560565571213196, "trace_standard_error": 0.12167577898002477, "sam_sharpness": 0.05898714065551758, "asam_sharpness": 0.05326104164123535, "examples": 20, "hessian_vector_products": 34}');
INSERT INTO public.adai_curvature VALUES (15, 2, '{"loss": 1.0085785388946533, "gradient_norm": 0.7628615596315831, "top_eigenvalue": 1.7146225860998356, "top_eigenvalue_residual": 0.00011872942421705475, "bottom_eigenvalue": 0.0004456582921389974, "bottom_eigenvalue_residual": 0.005377842969605729, "trace": 11.976649390337542, "trace_standard_error": 0.3035034946727675, "sam_sharpness": 0.03934049606323242, "asam_sharpness": 0.08961701393127441, "examples": 20, "hessian_vector_products": 29}');
INSERT INTO public.adai_curvature VALUES (17, 2, '{"loss": 1.0778887271881104, "gradient_norm": 0.8743356297029584, "top_eigenvalue": 0.7119054476297119, "top_eigenvalue_residual": 2.20575717704109e-05, "bottom_eigenvalue": 2.400944966822426e-05, "bottom_eigenvalue_residual": 0.000576780018147971, "trace": 1.4908161999199367, "trace_standard_error": 0.015044535772937809, "sam_sharpness": 0.04446744918823242, "asam_sharpness": 1.3192720413208008, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (19, 2, '{"loss": 2.0188751220703125, "gradient_norm": 1.138526064481213, "top_eigenvalue": 1.3982002279077508, "top_eigenvalue_residual": 7.165383696487145e-05, "bottom_eigenvalue": 8.184419316010222e-05, "bottom_eigenvalue_residual": 0.0019414780146029332, "trace": 14.364914267375065, "trace_standard_error": 0.3232563487254158, "sam_sharpness": 0.058125972747802734, "asam_sharpness": 0.05341982841491699, "examples": 20, "hessian_vector_products": 33}');
INSERT INTO public.adai_curvature VALUES (12, 2, '{"loss": 0.7463555932044983, "gradient_norm": 0.6564656483688961, "top_eigenvalue": 1.8909681920022352, "top_eigenvalue_residual": 0.00012941150159416116, "bottom_eigenvalue": 0.0005706117031139831, "bottom_eigenvalue_residual": 0.0038799846385766845, "trace": 8.7307646099202, "trace_standard_error": 0.35784246738955194, "sam_sharpness": 0.03400850296020508, "asam_sharpness": 0.12600022554397583, "examples": 20, "hessian_vector_products": 26}');
INSERT INTO public.adai_curvature VALUES (14, 2, '{"loss": 2.034062623977661, "gradient_norm": 1.1143054600339442, "top_eigenvalue": 1.5027402746590228, "top_eigenvalue_residual": 9.219683064634161e-05, "bottom_eigenvalue": 0.00014710558143689892, "bottom_eigenvalue_residual": 0.0029432189115623083, "trace": 14.502217303826118, "trace_standard_error": 0.3266146069383913, "sam_sharpness": 0.05687975883483887, "asam_sharpness": 0.04821300506591797, "examples": 20, "hessian_vector_products": 33}');
INSERT INTO public.adai_curvature VALUES (16, 2, '{"loss": 1.0518258810043335, "gradient_norm": 0.7997595488370302, "top_eigenvalue": 1.7922975507362158, "top_eigenvalue_residual": 3.245624772235424e-05, "bottom_eigenvalue": 0.00043900319366030045, "bottom_eigenvalue_residual": 0.006352458450766273, "trace": 12.383601886472903, "trace_standard_error": 0.6822742453209044, "sam_sharpness": 0.041262269020080566, "asam_sharpness": 0.09870505332946777, "examples": 20, "hessian_vector_products": 28}');
INSERT INTO public.adai_curvature VALUES (18, 2, '{"loss": 1.0630114078521729, "gradient_norm": 0.6690222630254011, "top_eigenvalue": 0.4259089229871035, "top_eigenvalue_residual": 1.278562459391898e-05, "bottom_eigenvalue": 7.64508346375503e-06, "bottom_eigenvalue_residual": 0.00017645568232187015, "trace": 0.8822038349499398, "trace_standard_error": 0.009759452557721092, "sam_sharpness": 0.03379952907562256, "asam_sharpness": 0.9257940053939819, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (20, 2, '{"loss": 2.0083272457122803, "gradient_norm": 1.1157408351233153, "top_eigenvalue": 1.4884502604888172, "top_eigenvalue_residual": 0.00011448222068157903, "bottom_eigenvalue": 0.00015706825574007005, "bottom_eigenvalue_residual": 0.0015353836119367098, "trace": 14.28070662279002, "trace_standard_error": 0.46014252565482383, "sam_sharpness": 0.056960105895996094, "asam_sharpness": 0.04943108558654785, "examples": 20, "hessian_vector_products": 32}');
INSERT INTO public.adai_curvature VALUES (21, 2, '{"loss": 0.6084336042404175, "gradient_norm": 0.5528322159486431, "top_eigenvalue": 1.9393587844142561, "top_eigenvalue_residual": 0.00017299370419282046, "bottom_eigenvalue": 0.0007135383510558955, "bottom_eigenvalue_residual": 0.006003469104170303, "trace": 7.751755851045891, "trace_standard_error": 0.39283479885422323, "sam_sharpness": 0.028806328773498535, "asam_sharpness": 0.11734616756439209, "examples": 20, "hessian_vector_products": 25}');
INSERT INTO public.adai_curvature VALUES (23, 2, '{"loss": 2.0479836463928223, "gradient_norm": 1.1341429634856919, "top_eigenvalue": 1.3539409155958846, "top_eigenvalue_residual": 9.086032763765269e-05, "bottom_eigenvalue": 7.586186383412998e-05, "bottom_eigenvalue_residual": 0.0022723747990653765, "trace": 14.674737575505105, "trace_standard_error": 0.48672223431977174, "sam_sharpness": 0.057889461517333984, "asam_sharpness": 0.051835060119628906, "examples": 20, "hessian_vector_products": 34}');
INSERT INTO public.adai_curvature VALUES (25, 2, '{"loss": 0.9879123568534851, "gradient_norm": 0.38412760576057103, "top_eigenvalue": 0.759473959840832, "top_eigenvalue_residual": 3.746692604809902e-05, "bottom_eigenvalue": 2.6555992814127993e-05, "bottom_eigenvalue_residual": 0.0003751298608378381, "trace": 1.9863554705432052, "trace_standard_error": 0.02911547550806217, "sam_sharpness": 0.0193750262260437, "asam_sharpness": 0.5795708298683167, "examples": 20, "hessian_vector_products": 25}');
INSERT INTO public.adai_curvature VALUES (27, 2, '{"loss": 0.6145994067192078, "gradient_norm": 0.5374649612702002, "top_eigenvalue": 0.43871053397696014, "top_eigenvalue_residual": 3.559752332350893e-05, "bottom_eigenvalue": 1.8074377556852837e-05, "bottom_eigenvalue_residual": 0.00037394906693572014, "trace": 0.8900665372301723, "trace_standard_error": 0.010558789556846923, "sam_sharpness": 0.027107954025268555, "asam_sharpness": 0.5730453133583069, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (29, 2, '{"loss": 1.7833608388900757, "gradient_norm": 1.0876241250531538, "top_eigenvalue": 1.4743532895130482, "top_eigenvalue_residual": 6.139574976302192e-05, "bottom_eigenvalue": 0.00014662783195611276, "bottom_eigenvalue_residual": 0.004018202215674439, "trace": 14.259314199791248, "trace_standard_error": 0.31482673041059234, "sam_sharpness": 0.055612921714782715, "asam_sharpness": 0.06301629543304443, "examples": 20, "hessian_vector_products": 31}');
INSERT INTO public.adai_curvature VALUES (22, 2, '{"loss": 0.6696494817733765, "gradient_norm": 0.6258688480308435, "top_eigenvalue": 1.7778178145176184, "top_eigenvalue_residual": 0.00010221817840892991, "bottom_eigenvalue": 0.0005008465556079884, "bottom_eigenvalue_residual": 0.003328371847316654, "trace": 7.850832224030546, "trace_standard_error": 0.2601714804468943, "sam_sharpness": 0.03241753578186035, "asam_sharpness": 0.1334667205810547, "examples": 20, "hessian_vector_products": 26}');
INSERT INTO public.adai_curvature VALUES (24, 2, '{"loss": 2.058809995651245, "gradient_norm": 1.1314605228138686, "top_eigenvalue": 1.428995778328304, "top_eigenvalue_residual": 2.0878678642012787e-05, "bottom_eigenvalue": 9.694145751265598e-05, "bottom_eigenvalue_residual": 0.0016866623478872759, "trace": 13.956817436141076, "trace_standard_error": 0.29064770043908406, "sam_sharpness": 0.05775022506713867, "asam_sharpness": 0.04855656623840332, "examples": 20, "hessian_vector_products": 33}');
INSERT INTO public.adai_curvature VALUES (26, 2, '{"loss": 0.7313805222511292, "gradient_norm": 0.5852376505994743, "top_eigenvalue": 1.1020309489492353, "top_eigenvalue_residual": 8.641852765361053e-05, "bottom_eigenvalue": 2.5840492624010205e-05, "bottom_eigenvalue_residual": 0.0006687765458611043, "trace": 2.1754279099157805, "trace_standard_error": 0.0340742576527533, "sam_sharpness": 0.02982151508331299, "asam_sharpness": 0.5000306963920593, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (28, 2, '{"loss": 0.3373636305332184, "gradient_norm": 0.4520472725448728, "top_eigenvalue": 0.3655413269231864, "top_eigenvalue_residual": 1.1635275106365177e-06, "bottom_eigenvalue": 8.39870980209608e-06, "bottom_eigenvalue_residual": 0.0003072750261236855, "trace": 0.7288435004019421, "trace_standard_error": 0.01229557940299233, "sam_sharpness": 0.022814422845840454, "asam_sharpness": 0.5110230147838593, "examples": 20, "hessian_vector_products": 24}');
INSERT INTO public.adai_curvature VALUES (30, 2, '{"loss": 1.7479407787322998, "gradient_norm": 1.05542796322679, "top_eigenvalue": 1.5802440473228963, "top_eigenvalue_residual": 4.466415383867986e-05, "bottom_eigenvalue": 0.00017637975693031555, "bottom_eigenvalue_residual": 0.0027935956960652005, "trace": 14.313868754488965, "trace_standard_error": 0.3439437401437061, "sam_sharpness": 0.053978800773620605, "asam_sharpness": 0.059670329093933105, "examples": 20, "hessian_vector_products": 32}');
INSERT INTO public.adai_environments VALUES (1, '91e83f8e95d410e2e2c537056b794148e43e18a3356536b17b0d11fe791685df', '{"python": "3.11.7", "platform": "Linux-6.18.44-fc-v657-x86_64-with-glibc2.36", "machine": "x86_64", "processor": "AMD EPYC", "processors": 2, "packages": {"adai-study": "0.1.0", "alembic": "1.20.1", "baycomp": "1.0.3", "matplotlib": "3.11.2", "numpy": "2.4.6", "opda": "0.8.0", "optuna": "5.0.0", "optuna-dashboard": "0.21.0", "pillow": "13.0.0", "polars": "2.1.0", "ray": "2.60.0", "reportlab": "5.1.0", "scikit-learn": "1.9.1", "scikit-posthocs": "0.17.1", "scipy": "1.17.1", "sqlalchemy": "2.1.9", "statsmodels": "0.15.0", "torch": "2.14.1", "torchvision": "0.29.1"}, "commit": "6af091ac3724c8bb508c248387ae1045a0b4cf43"}');
INSERT INTO public.adai_epochs VALUES (1, 1, 1.3124234769717757, 0.6851343687696377, 0.08356545961002786, 1, 0.0012602606002474204, 0.535242827499614);
INSERT INTO public.adai_epochs VALUES (3, 1, 2.2535142567115765, 2.158928814040585, 0.7047353760445683, 0.04388427765319105, 0.0012602606002474204, 0.662082717699163);
INSERT INTO public.adai_epochs VALUES (5, 1, 4.989927916144529, 0.7585234786215483, 0.17270194986072424, 4.3090606004303105, 0.0012602606002474204, 1.0352631123626934);
INSERT INTO public.adai_epochs VALUES (7, 1, 6.392234223876649, 0.5632768988079898, 0.08635097493036212, 10.31677368805152, 0.0012602606002474204, 0.9497181659235674);
INSERT INTO public.adai_epochs VALUES (9, 1, 2.152708530757469, 1.961420738265375, 0.3983286908077994, 0.10506820532886649, 0.0012602606002474204, 0.642558415146435);
INSERT INTO public.adai_epochs VALUES (2, 1, 1.3021312310145452, 0.6796419767450157, 0.10027855153203342, 1, 0.0012602606002474204, 0.5216787282158347);
INSERT INTO public.adai_epochs VALUES (4, 1, 2.231244771982145, 2.1538261842594837, 0.6128133704735376, 0.04388427765319105, 0.0012602606002474204, 0.6180361965123344);
INSERT INTO public.adai_epochs VALUES (6, 1, 1.7241592482353825, 0.8507045868841249, 0.20891364902506965, 4.3090606004303105, 0.0012602606002474204, 0.7093540640438304);
INSERT INTO public.adai_epochs VALUES (8, 1, 3.6671957267004656, 0.3357020483027232, 0.0807799442896936, 10.31677368805152, 0.0012602606002474204, 0.8241313906276927);
INSERT INTO public.adai_epochs VALUES (10, 1, 2.132838227994139, 1.9448871144345212, 0.31197771587743733, 0.10506820532886649, 0.0012602606002474204, 0.6065111616078545);
INSERT INTO public.adai_epochs VALUES (1, 2, 0.5553388452507811, 0.45892088521987945, 0.07520891364902507, 1, 0.0009000039997772546, 0.2949202323661131);
INSERT INTO public.adai_epochs VALUES (3, 2, 2.1026259146982924, 2.02724341296884, 0.4568245125348189, 0.04388427765319105, 0.0009000039997772546, 0.6250528272460488);
INSERT INTO public.adai_epochs VALUES (5, 2, 1.221394814585402, 0.8724172002292329, 0.16991643454038996, 4.3090606004303105, 0.0009000039997772546, 0.5663782989277559);
INSERT INTO public.adai_epochs VALUES (7, 2, 0.5304551359759756, 0.4350235005984925, 0.08913649025069638, 10.31677368805152, 0.0009000039997772546, 0.29362916508141684);
INSERT INTO public.adai_epochs VALUES (9, 2, 1.8387457564321241, 1.6888091773375826, 0.20612813370473537, 0.10506820532886649, 0.0009000039997772546, 0.5921801784459282);
INSERT INTO public.adai_epochs VALUES (2, 2, 0.5487955696501038, 0.44870305703667546, 0.07242339832869081, 1, 0.0009000039997772546, 0.2804153175914989);
INSERT INTO public.adai_epochs VALUES (4, 2, 2.087240566248359, 2.0186260042084294, 0.40668523676880225, 0.04388427765319105, 0.0009000039997772546, 0.604023253216463);
INSERT INTO public.adai_epochs VALUES (6, 2, 0.5097061006751074, 0.29845662170603204, 0.08356545961002786, 4.3090606004303105, 0.0009000039997772546, 0.39584217439679537);
INSERT INTO public.adai_epochs VALUES (8, 2, 0.5658142328110417, 0.3386298126992809, 0.07799442896935933, 10.31677368805152, 0.0009000039997772546, 0.3201004757600672);
INSERT INTO public.adai_epochs VALUES (10, 2, 1.8173967349076292, 1.6768188835186546, 0.20055710306406685, 0.10506820532886649, 0.0009000039997772546, 0.5674543959252975);
INSERT INTO public.adai_epochs VALUES (11, 1, 1.8209744376977137, 1.068494222124307, 0.09749303621169916, 0.1, 0.0004920082003081916, 0.618256630266414);
INSERT INTO public.adai_epochs VALUES (13, 1, 2.2947585109873323, 2.207246714647766, 0.8245125348189415, 0.0043884277653191035, 0.0004920082003081916, 0.6769953440217411);
INSERT INTO public.adai_epochs VALUES (15, 1, 1.8012439915159435, 1.301659808351469, 0.12256267409470752, 0.430906060043031, 0.0004920082003081916, 0.608763773651684);
INSERT INTO public.adai_epochs VALUES (17, 1, 0.8729979538939637, 0.2585538782143507, 0.07242339832869081, 1.0316773688051517, 0.0004920082003081916, 0.4672175602001302);
INSERT INTO public.adai_epochs VALUES (19, 1, 2.269192142769404, 2.159327106555524, 0.6963788300835655, 0.010506820532886646, 0.0004920082003081916, 0.6670866678742802);
INSERT INTO public.adai_epochs VALUES (12, 1, 1.795538789923264, 1.078128666930876, 0.16434540389972144, 0.1, 0.0004920082003081916, 0.5825252357651206);
INSERT INTO public.adai_epochs VALUES (14, 1, 2.2691317391240897, 2.2037301774144504, 0.6991643454038997, 0.0043884277653191035, 0.0004920082003081916, 0.6230892644209021);
INSERT INTO public.adai_epochs VALUES (16, 1, 1.7832717068003106, 1.2965859178048986, 0.1977715877437326, 0.430906060043031, 0.0004920082003081916, 0.5880270828219021);
INSERT INTO public.adai_epochs VALUES (18, 1, 0.902907690867105, 0.45434687833644033, 0.1309192200557103, 1.0316773688051517, 0.0004920082003081916, 0.4908451332765467);
INSERT INTO public.adai_epochs VALUES (20, 1, 2.246518375478043, 2.1556030840594786, 0.6211699164345403, 0.010506820532886646, 0.0004920082003081916, 0.6199528890497544);
INSERT INTO public.adai_epochs VALUES (11, 2, 0.7558313446314496, 0.5525683768840719, 0.09192200557103064, 0.1, 0.00043654449982568624, 0.36445849432664756);
INSERT INTO public.adai_epochs VALUES (13, 2, 2.125047787347251, 2.0169444356456108, 0.42896935933147634, 0.0043884277653191035, 0.00043654449982568624, 0.6270109976039213);
INSERT INTO public.adai_epochs VALUES (15, 2, 1.0905357926835386, 0.8842193911002539, 0.10584958217270195, 0.430906060043031, 0.00043654449982568624, 0.44115996886702147);
INSERT INTO public.adai_epochs VALUES (17, 2, 0.2979822288214663, 0.4696066772765744, 0.10306406685236769, 1.0316773688051517, 0.00043654449982568624, 0.22069789118626537);
INSERT INTO public.adai_epochs VALUES (19, 2, 2.079632011136045, 1.9780881484570942, 0.3871866295264624, 0.010506820532886646, 0.00043654449982568624, 0.621985162005705);
INSERT INTO public.adai_epochs VALUES (12, 2, 0.739411493381822, 0.5223635162089363, 0.07520891364902507, 0.1, 0.00043654449982568624, 0.34261682892546935);
INSERT INTO public.adai_epochs VALUES (14, 2, 2.111887666889647, 2.0064930836138286, 0.415041782729805, 0.0043884277653191035, 0.00043654449982568624, 0.6058661516974954);
INSERT INTO public.adai_epochs VALUES (16, 2, 1.0774989252404221, 0.868264833117594, 0.08635097493036212, 0.430906060043031, 0.00043654449982568624, 0.43194905449362364);
INSERT INTO public.adai_epochs VALUES (18, 2, 0.3251755081524553, 0.4407637548385278, 0.08356545961002786, 1.0316773688051517, 0.00043654449982568624, 0.23823549379320705);
INSERT INTO public.adai_epochs VALUES (20, 2, 2.066204337746706, 1.9701422419720704, 0.3426183844011142, 0.010506820532886646, 0.00043654449982568624, 0.6016984196270213);
INSERT INTO public.adai_epochs VALUES (21, 1, 1.3124234769717757, 0.6851343687696377, 0.08356545961002786, 1, 0.0005335612000635592, 0.535242827499614);
INSERT INTO public.adai_epochs VALUES (23, 1, 2.2535142567115765, 2.158928814040585, 0.7047353760445683, 0.04388427765319105, 0.0005335612000635592, 0.662082717699163);
INSERT INTO public.adai_epochs VALUES (25, 1, 4.989927916144529, 0.7585234786215483, 0.17270194986072424, 4.3090606004303105, 0.0005335612000635592, 1.0352631123626934);
INSERT INTO public.adai_epochs VALUES (27, 1, 6.392234223876649, 0.5632768988079898, 0.08635097493036212, 10.31677368805152, 0.0005335612000635592, 0.9497181659235674);
INSERT INTO public.adai_epochs VALUES (29, 1, 2.152708530757469, 1.961420738265375, 0.3983286908077994, 0.10506820532886649, 0.0005335612000635592, 0.642558415146435);
INSERT INTO public.adai_epochs VALUES (22, 1, 1.3021312310145452, 0.6796419767450157, 0.10027855153203342, 1, 0.0005335612000635592, 0.5216787282158347);
INSERT INTO public.adai_epochs VALUES (24, 1, 2.231244771982145, 2.1538261842594837, 0.6128133704735376, 0.04388427765319105, 0.0005335612000635592, 0.6180361965123344);
INSERT INTO public.adai_epochs VALUES (26, 1, 1.7241592482353825, 0.8507045868841249, 0.20891364902506965, 4.3090606004303105, 0.0005335612000635592, 0.7093540640438304);
INSERT INTO public.adai_epochs VALUES (28, 1, 3.6671957267004656, 0.3357020483027232, 0.0807799442896936, 10.31677368805152, 0.0005335612000635592, 0.8241313906276927);
INSERT INTO public.adai_epochs VALUES (30, 1, 2.132838227994139, 1.9448871144345212, 0.31197771587743733, 0.10506820532886649, 0.0005335612000635592, 0.6065111616078545);
INSERT INTO public.adai_epochs VALUES (21, 2, 0.5553388452507811, 0.45892088521987945, 0.07520891364902507, 1, 0.0005398696001066127, 0.2949202323661131);
INSERT INTO public.adai_epochs VALUES (23, 2, 2.1026259146982924, 2.02724341296884, 0.4568245125348189, 0.04388427765319105, 0.0005398696001066127, 0.6250528272460488);
INSERT INTO public.adai_epochs VALUES (25, 2, 1.221394814585402, 0.8724172002292329, 0.16991643454038996, 4.3090606004303105, 0.0005398696001066127, 0.5663782989277559);
INSERT INTO public.adai_epochs VALUES (27, 2, 0.5304551359759756, 0.4350235005984925, 0.08913649025069638, 10.31677368805152, 0.0005398696001066127, 0.29362916508141684);
INSERT INTO public.adai_epochs VALUES (29, 2, 1.8387457564321241, 1.6888091773375826, 0.20612813370473537, 0.10506820532886649, 0.0005398696001066127, 0.5921801784459282);
INSERT INTO public.adai_epochs VALUES (22, 2, 0.5487955696501038, 0.44870305703667546, 0.07242339832869081, 1, 0.0005398696001066127, 0.2804153175914989);
INSERT INTO public.adai_epochs VALUES (24, 2, 2.087240566248359, 2.0186260042084294, 0.40668523676880225, 0.04388427765319105, 0.0005398696001066127, 0.604023253216463);
INSERT INTO public.adai_epochs VALUES (26, 2, 0.5097061006751074, 0.29845662170603204, 0.08356545961002786, 4.3090606004303105, 0.0005398696001066127, 0.39584217439679537);
INSERT INTO public.adai_epochs VALUES (28, 2, 0.5658142328110417, 0.3386298126992809, 0.07799442896935933, 10.31677368805152, 0.0005398696001066127, 0.3201004757600672);
INSERT INTO public.adai_epochs VALUES (30, 2, 1.8173967349076292, 1.6768188835186546, 0.20055710306406685, 0.10506820532886649, 0.0005398696001066127, 0.5674543959252975);
INSERT INTO public.adai_logs VALUES (1, 1, '2026-11-26 04:21:09.858689+00', 'info', 'study_created', '{"trials": 10, "state": "planned"}');
INSERT INTO public.adai_logs VALUES (2, 1, '2026-11-26 04:21:09.869236+00', 'info', 'study_started', '{"driver": "process 3559 on vm"}');
INSERT INTO public.adai_logs VALUES (3, 1, '2026-11-26 04:21:09.91924+00', 'info', 'attempt_started', '{"attempt": 1, "workload": "digits-logistic", "optimizer": "adai", "trials": [0, 1, 2, 3, 4], "tries": 1}');
INSERT INTO public.adai_logs VALUES (4, 1, '2026-11-26 04:21:09.928108+00', 'info', 'attempt_started', '{"attempt": 2, "workload": "digits-logistic", "optimizer": "sgd", "trials": [0, 1, 2, 3, 4], "tries": 1}');
INSERT INTO public.adai_logs VALUES (5, 1, '2026-11-26 04:21:10.149279+00', 'info', 'attempt_finished', '{"attempt": 1, "workload": "digits-logistic", "optimizer": "adai", "trials": [0, 1, 2, 3, 4], "worker": "inline", "runs": 10, "trials_ended": 5, "diverged": 0}');
INSERT INTO public.adai_logs VALUES (6, 1, '2026-11-26 04:21:10.308564+00', 'info', 'attempt_finished', '{"attempt": 2, "workload": "digits-logistic", "optimizer": "sgd", "trials": [0, 1, 2, 3, 4], "worker": "inline", "runs": 10, "trials_ended": 5, "diverged": 0}');
INSERT INTO public.adai_logs VALUES (7, 1, '2026-11-26 04:21:10.310679+00', 'info', 'study_completed', '{}');
INSERT INTO public.adai_logs VALUES (8, 2, '2026-11-26 04:21:10.417665+00', 'info', 'study_created', '{"trials": 10, "state": "planned"}');
INSERT INTO public.adai_logs VALUES (9, 2, '2026-11-26 04:21:10.42671+00', 'info', 'study_started', '{"driver": "process 3559 on vm"}');
INSERT INTO public.adai_logs VALUES (10, 2, '2026-11-26 04:21:10.450984+00', 'info', 'attempt_started', '{"attempt": 3, "workload": "digits-logistic", "optimizer": "adai", "trials": [0, 1, 2, 3, 4], "tries": 1}');
INSERT INTO public.adai_logs VALUES (11, 2, '2026-11-26 04:21:10.453304+00', 'info', 'attempt_started', '{"attempt": 4, "workload": "digits-logistic", "optimizer": "sgd", "trials": [0, 1, 2, 3, 4], "tries": 1}');
INSERT INTO public.adai_logs VALUES (12, 2, '2026-11-26 04:21:10.645979+00', 'info', 'attempt_finished', '{"attempt": 3, "workload": "digits-logistic", "optimizer": "adai", "trials": [0, 1, 2, 3, 4], "worker": "inline", "runs": 10, "trials_ended": 5, "diverged": 0}');
INSERT INTO public.adai_logs VALUES (13, 2, '2026-11-26 04:21:10.651603+00', 'warning', 'attempts_cancelled', '{"attempts": [4]}');
INSERT INTO public.adai_logs VALUES (14, 2, '2026-11-26 04:21:10.654421+00', 'info', 'study_interrupted', '{}');
INSERT INTO public.adai_plans VALUES (1, 1, 'digits-logistic', 'stacked', 96, '6 us per row and step in stacks of 24; 4 us per row and step in stacks of 96; 4 us per row and step in stacks of 192', 'cpu');
INSERT INTO public.adai_plans VALUES (2, 2, 'digits-logistic', 'stacked', 96, '5 us per row and step in stacks of 24; 4 us per row and step in stacks of 96; 4 us per row and step in stacks of 192', 'cpu');
INSERT INTO public.adai_runs VALUES (1, 1, 0, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.5553388452507811, 0.45892088521987945, 0.07520891364902507, 0.506636558110958, 0.10584958217270195, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (2, 1, 1, 'COMPLETED', '', 2, 0.07242339832869081, false, 0.5487955696501038, 0.44870305703667546, 0.07242339832869081, 0.48264479966611085, 0.10027855153203342, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (3, 2, 0, 'COMPLETED', '', 2, 0.4568245125348189, false, 2.1026259146982924, 2.02724341296884, 0.4568245125348189, 2.0374531586522178, 0.5153203342618384, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (4, 2, 1, 'COMPLETED', '', 2, 0.40668523676880225, false, 2.087240566248359, 2.0186260042084294, 0.40668523676880225, 2.0155461528507117, 0.3788300835654596, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (5, 3, 0, 'COMPLETED', '', 2, 0.16991643454038996, false, 1.221394814585402, 0.8724172002292329, 0.16991643454038996, 1.0266099674203026, 0.20055710306406685, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (6, 3, 1, 'COMPLETED', '', 2, 0.08356545961002786, false, 0.5097061006751074, 0.29845662170603204, 0.08356545961002786, 0.39635790870643384, 0.10027855153203342, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (7, 4, 0, 'COMPLETED', '', 2, 0.08913649025069638, false, 0.5304551359759756, 0.4350235005984925, 0.08913649025069638, 0.619567267237311, 0.10027855153203342, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (8, 4, 1, 'COMPLETED', '', 2, 0.07799442896935933, false, 0.5658142328110417, 0.3386298126992809, 0.07799442896935933, 0.5127791126820018, 0.10306406685236769, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (9, 5, 0, 'COMPLETED', '', 2, 0.20612813370473537, false, 1.8387457564321241, 1.6888091773375826, 0.20612813370473537, 1.7087543678150867, 0.19498607242339833, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (10, 5, 1, 'COMPLETED', '', 2, 0.20055710306406685, false, 1.8173967349076292, 1.6768188835186546, 0.20055710306406685, 1.6862405448902948, 0.21448467966573817, 0.002160264600024675, 1, NULL, NULL, 738344960);
INSERT INTO public.adai_runs VALUES (11, 6, 0, 'COMPLETED', '', 2, 0.09192200557103064, false, 0.7558313446314496, 0.5525683768840719, 0.09192200557103064, 0.5760534006458886, 0.12256267409470752, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (12, 6, 1, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.739411493381822, 0.5223635162089363, 0.07520891364902507, 0.5495146162766434, 0.10306406685236769, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (13, 7, 0, 'COMPLETED', '', 2, 0.42896935933147634, false, 2.125047787347251, 2.0169444356456108, 0.42896935933147634, 2.0392025506596045, 0.4986072423398329, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (14, 7, 1, 'COMPLETED', '', 2, 0.415041782729805, false, 2.111887666889647, 2.0064930836138286, 0.415041782729805, 2.009078069649699, 0.40947075208913647, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (15, 8, 0, 'COMPLETED', '', 2, 0.10584958217270195, false, 1.0905357926835386, 0.8842193911002539, 0.10584958217270195, 0.917738764564971, 0.11977715877437325, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (16, 8, 1, 'COMPLETED', '', 2, 0.08635097493036212, false, 1.0774989252404221, 0.868264833117594, 0.08635097493036212, 0.8893300668027739, 0.10863509749303621, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (17, 9, 0, 'COMPLETED', '', 2, 0.10306406685236769, false, 0.2979822288214663, 0.4696066772765744, 0.10306406685236769, 0.5523939354500474, 0.10306406685236769, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (18, 9, 1, 'COMPLETED', '', 2, 0.08356545961002786, false, 0.3251755081524553, 0.4407637548385278, 0.08356545961002786, 0.5121015535645334, 0.116991643454039, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (19, 10, 0, 'COMPLETED', '', 2, 0.3871866295264624, false, 2.079632011136045, 1.9780881484570942, 0.3871866295264624, 1.9939960118455806, 0.479108635097493, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (20, 10, 1, 'COMPLETED', '', 2, 0.3426183844011142, false, 2.066204337746706, 1.9701422419720704, 0.3426183844011142, 1.9707431461153588, 0.35376044568245124, 0.0009285527001338779, 2, NULL, NULL, 738533376);
INSERT INTO public.adai_runs VALUES (31, 16, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (32, 16, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (33, 17, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (34, 17, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (35, 18, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (36, 18, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (37, 19, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (38, 19, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (39, 20, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (40, 20, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_runs VALUES (21, 11, 0, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.5553388452507811, 0.45892088521987945, 0.07520891364902507, 0.506636558110958, 0.10584958217270195, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (22, 11, 1, 'COMPLETED', '', 2, 0.07242339832869081, false, 0.5487955696501038, 0.44870305703667546, 0.07242339832869081, 0.48264479966611085, 0.10027855153203342, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (23, 12, 0, 'COMPLETED', '', 2, 0.4568245125348189, false, 2.1026259146982924, 2.02724341296884, 0.4568245125348189, 2.0374531586522178, 0.5153203342618384, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (24, 12, 1, 'COMPLETED', '', 2, 0.40668523676880225, false, 2.087240566248359, 2.0186260042084294, 0.40668523676880225, 2.0155461528507117, 0.3788300835654596, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (25, 13, 0, 'COMPLETED', '', 2, 0.16991643454038996, false, 1.221394814585402, 0.8724172002292329, 0.16991643454038996, 1.0266099674203026, 0.20055710306406685, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (26, 13, 1, 'COMPLETED', '', 2, 0.08356545961002786, false, 0.5097061006751074, 0.29845662170603204, 0.08356545961002786, 0.39635790870643384, 0.10027855153203342, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (27, 14, 0, 'COMPLETED', '', 2, 0.08913649025069638, false, 0.5304551359759756, 0.4350235005984925, 0.08913649025069638, 0.619567267237311, 0.10027855153203342, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (28, 14, 1, 'COMPLETED', '', 2, 0.07799442896935933, false, 0.5658142328110417, 0.3386298126992809, 0.07799442896935933, 0.5127791126820018, 0.10306406685236769, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (29, 15, 0, 'COMPLETED', '', 2, 0.20612813370473537, false, 1.8387457564321241, 1.6888091773375826, 0.20612813370473537, 1.7087543678150867, 0.19498607242339833, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_runs VALUES (30, 15, 1, 'COMPLETED', '', 2, 0.20055710306406685, false, 1.8173967349076292, 1.6768188835186546, 0.20055710306406685, 1.6862405448902948, 0.21448467966573817, 0.001073430800170172, 3, NULL, NULL, 746536960);
INSERT INTO public.adai_studies VALUES (1, 'finished', '{"name": "finished", "description": "", "workload_files": {}, "workloads": ["digits-logistic"], "optimizers": [{"name": "adai", "axes": {"lr": {"low": 0.01, "high": 100.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "beta0": {"low": 0.01, "high": 1.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "beta2": {"low": 0.0, "high": 0.9999, "scale": "log1m", "integer": false, "choices": [], "when": ""}}, "fixed": {}, "options": {}, "constraints": []}, {"name": "sgd", "axes": {"lr": {"low": 0.001, "high": 10.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m", "integer": false, "choices": [], "when": ""}}, "fixed": {}, "options": {}, "constraints": []}], "design": {"kind": "sobol", "points": 4, "levels": null, "batch": 8, "startup_trials": 8, "second_objective": null}, "seeds": 2, "study_seed": 7, "epochs": 2, "objective": "val_error", "training": {"batch_size": null, "schedule": null, "label_smoothing": 0.0, "label_noise": "none", "noise_rate": 0.0, "imbalance": "none", "imbalance_ratio": 1.0, "limit_train": null, "limit_validation": null, "limit_test": null, "target_error": null, "engine": "auto", "precision": "float32", "curvature": {"every": 2, "examples": 20, "slice_points": 0}}, "pruning": {"kind": "none", "min_epochs": 1, "reduction_factor": 3, "startup_seeds": 4, "p_threshold": 0.1}}', '0bb3f49b3c9d3c0103988b2c0dc6c0f3090ccc6c2f30e732f6cb18c4b1ee601e', 'completed', NULL, 1, '2026-11-26 04:21:09.840726+00', '2026-11-26 04:21:10.310022+00', 11, NULL, NULL);
INSERT INTO public.adai_studies VALUES (2, 'interrupted', '{"name": "interrupted", "description": "", "workload_files": {}, "workloads": ["digits-logistic"], "optimizers": [{"name": "adai", "axes": {"lr": {"low": 0.01, "high": 100.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "beta0": {"low": 0.01, "high": 1.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "beta2": {"low": 0.0, "high": 0.9999, "scale": "log1m", "integer": false, "choices": [], "when": ""}}, "fixed": {}, "options": {}, "constraints": []}, {"name": "sgd", "axes": {"lr": {"low": 0.001, "high": 10.0, "scale": "log", "integer": false, "choices": [], "when": ""}, "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m", "integer": false, "choices": [], "when": ""}}, "fixed": {}, "options": {}, "constraints": []}], "design": {"kind": "sobol", "points": 4, "levels": null, "batch": 8, "startup_trials": 8, "second_objective": null}, "seeds": 2, "study_seed": 7, "epochs": 2, "objective": "val_error", "training": {"batch_size": null, "schedule": null, "label_smoothing": 0.0, "label_noise": "none", "noise_rate": 0.0, "imbalance": "none", "imbalance_ratio": 1.0, "limit_train": null, "limit_validation": null, "limit_test": null, "target_error": null, "engine": "auto", "precision": "float32", "curvature": {"every": 2, "examples": 20, "slice_points": 0}}, "pruning": {"kind": "none", "min_epochs": 1, "reduction_factor": 3, "startup_seeds": 4, "p_threshold": 0.1}}', '308f46e2753073376b30424922fc3b3a80e9b5dc90be9cac36e93ea3261f32c5', 'interrupted', NULL, 1, '2026-11-26 04:21:10.39186+00', NULL, 9, NULL, NULL);
INSERT INTO public.adai_trials VALUES (1, 1, 'digits-logistic', 'adai', 0, 'default', '{"lr": 1.0, "beta0": 0.1, "beta2": 0.99, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.4999999999999999, "beta0": 0.5, "beta2": 0.49999999999999395}', 1, 0);
INSERT INTO public.adai_trials VALUES (2, 1, 'digits-logistic', 'adai', 1, 'design', '{"lr": 0.04388427765319105, "beta0": 0.1917491871832182, "beta2": 0.9124764355339132, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "beta0": 0.6413667658343911, "beta2": 0.2644687509164214}', 2, 0);
INSERT INTO public.adai_trials VALUES (3, 1, 'digits-logistic', 'adai', 2, 'design', '{"lr": 4.3090606004303105, "beta0": 0.010273241991149496, "beta2": 0.9993837461636093, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "beta0": 0.005853759124875069, "beta2": 0.8025600910186768}', 3, 0);
INSERT INTO public.adai_trials VALUES (4, 1, 'digits-logistic', 'adai', 3, 'design', '{"lr": 10.31677368805152, "beta0": 0.35472940174333395, "beta2": 0.7555049364408178, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "beta0": 0.7749485932290554, "beta2": 0.15293247625231743}', 4, 0);
INSERT INTO public.adai_trials VALUES (5, 1, 'digits-logistic', 'adai', 4, 'design', '{"lr": 0.10506820532886649, "beta0": 0.05953704903036894, "beta2": 0.997785256365974, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "beta0": 0.3873936524614692, "beta2": 0.6636691344901919}', 5, 0);
INSERT INTO public.adai_trials VALUES (6, 1, 'digits-logistic', 'sgd', 0, 'default', '{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}', '{"lr": 0.5, "momentum": 0.5000000000000001}', 6, 0);
INSERT INTO public.adai_trials VALUES (7, 1, 'digits-logistic', 'sgd', 1, 'design', '{"lr": 0.0043884277653191035, "momentum": 0.947848540341165, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "momentum": 0.6413667658343911}', 7, 0);
INSERT INTO public.adai_trials VALUES (8, 1, 'digits-logistic', 'sgd', 2, 'design', '{"lr": 0.430906060043031, "momentum": 0.026597445225654437, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "momentum": 0.005853759124875069}', 8, 0);
INSERT INTO public.adai_trials VALUES (9, 1, 'digits-logistic', 'sgd', 3, 'design', '{"lr": 1.0316773688051517, "momentum": 0.9718094977443241, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "momentum": 0.7749485932290554}', 9, 0);
INSERT INTO public.adai_trials VALUES (10, 1, 'digits-logistic', 'sgd', 4, 'design', '{"lr": 0.010506820532886646, "momentum": 0.8320373588738139, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "momentum": 0.3873936524614692}', 10, 0);
INSERT INTO public.adai_trials VALUES (11, 2, 'digits-logistic', 'adai', 0, 'default', '{"lr": 1.0, "beta0": 0.1, "beta2": 0.99, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.4999999999999999, "beta0": 0.5, "beta2": 0.49999999999999395}', 11, 0);
INSERT INTO public.adai_trials VALUES (12, 2, 'digits-logistic', 'adai', 1, 'design', '{"lr": 0.04388427765319105, "beta0": 0.1917491871832182, "beta2": 0.9124764355339132, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "beta0": 0.6413667658343911, "beta2": 0.2644687509164214}', 12, 0);
INSERT INTO public.adai_trials VALUES (13, 2, 'digits-logistic', 'adai', 2, 'design', '{"lr": 4.3090606004303105, "beta0": 0.010273241991149496, "beta2": 0.9993837461636093, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "beta0": 0.005853759124875069, "beta2": 0.8025600910186768}', 13, 0);
INSERT INTO public.adai_trials VALUES (14, 2, 'digits-logistic', 'adai', 3, 'design', '{"lr": 10.31677368805152, "beta0": 0.35472940174333395, "beta2": 0.7555049364408178, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "beta0": 0.7749485932290554, "beta2": 0.15293247625231743}', 14, 0);
INSERT INTO public.adai_trials VALUES (15, 2, 'digits-logistic', 'adai', 4, 'design', '{"lr": 0.10506820532886649, "beta0": 0.05953704903036894, "beta2": 0.997785256365974, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "beta0": 0.3873936524614692, "beta2": 0.6636691344901919}', 15, 0);
INSERT INTO public.adai_trials VALUES (16, 2, 'digits-logistic', 'sgd', 0, 'default', '{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}', '{"lr": 0.5, "momentum": 0.5000000000000001}', 16, 0);
INSERT INTO public.adai_trials VALUES (17, 2, 'digits-logistic', 'sgd', 1, 'design', '{"lr": 0.0043884277653191035, "momentum": 0.947848540341165, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "momentum": 0.6413667658343911}', 17, 0);
INSERT INTO public.adai_trials VALUES (18, 2, 'digits-logistic', 'sgd', 2, 'design', '{"lr": 0.430906060043031, "momentum": 0.026597445225654437, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "momentum": 0.005853759124875069}', 18, 0);
INSERT INTO public.adai_trials VALUES (19, 2, 'digits-logistic', 'sgd', 3, 'design', '{"lr": 1.0316773688051517, "momentum": 0.9718094977443241, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "momentum": 0.7749485932290554}', 19, 0);
INSERT INTO public.adai_trials VALUES (20, 2, 'digits-logistic', 'sgd', 4, 'design', '{"lr": 0.010506820532886646, "momentum": 0.8320373588738139, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "momentum": 0.3873936524614692}', 20, 0);
INSERT INTO public.alembic_version VALUES ('v3.2.0.a');
INSERT INTO public.studies VALUES (1, 'finished/digits-logistic/adai');
INSERT INTO public.studies VALUES (2, 'finished/digits-logistic/sgd');
INSERT INTO public.studies VALUES (3, 'interrupted/digits-logistic/adai');
INSERT INTO public.studies VALUES (4, 'interrupted/digits-logistic/sgd');
INSERT INTO public.study_directions VALUES (1, 'MINIMIZE', 1, 0);
INSERT INTO public.study_directions VALUES (2, 'MINIMIZE', 2, 0);
INSERT INTO public.study_directions VALUES (3, 'MINIMIZE', 3, 0);
INSERT INTO public.study_directions VALUES (4, 'MINIMIZE', 4, 0);
INSERT INTO public.study_system_attributes VALUES (1, 1, 'study:metric_names', '["val_error"]');
INSERT INTO public.study_system_attributes VALUES (2, 2, 'study:metric_names', '["val_error"]');
INSERT INTO public.study_system_attributes VALUES (3, 3, 'study:metric_names', '["val_error"]');
INSERT INTO public.study_system_attributes VALUES (4, 4, 'study:metric_names', '["val_error"]');
INSERT INTO public.study_user_attributes VALUES (1, 1, 'study', '"finished"');
INSERT INTO public.study_user_attributes VALUES (2, 1, 'workload', '"digits-logistic"');
INSERT INTO public.study_user_attributes VALUES (3, 1, 'optimizer', '"adai"');
INSERT INTO public.study_user_attributes VALUES (4, 2, 'study', '"finished"');
INSERT INTO public.study_user_attributes VALUES (5, 2, 'workload', '"digits-logistic"');
INSERT INTO public.study_user_attributes VALUES (6, 2, 'optimizer', '"sgd"');
INSERT INTO public.study_user_attributes VALUES (7, 3, 'study', '"interrupted"');
INSERT INTO public.study_user_attributes VALUES (8, 3, 'workload', '"digits-logistic"');
INSERT INTO public.study_user_attributes VALUES (9, 3, 'optimizer', '"adai"');
INSERT INTO public.study_user_attributes VALUES (10, 4, 'study', '"interrupted"');
INSERT INTO public.study_user_attributes VALUES (11, 4, 'workload', '"digits-logistic"');
INSERT INTO public.study_user_attributes VALUES (12, 4, 'optimizer', '"sgd"');
INSERT INTO public.trial_intermediate_values VALUES (1, 1, 1, 0.09192200557103064, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (2, 2, 1, 0.658774373259053, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (3, 3, 1, 0.19080779944289694, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (4, 4, 1, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (5, 5, 1, 0.35515320334261835, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (6, 1, 2, 0.07381615598885793, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (7, 2, 2, 0.4317548746518106, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (8, 3, 2, 0.12674094707520892, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (9, 4, 2, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (10, 5, 2, 0.2033426183844011, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (11, 6, 1, 0.1309192200557103, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (12, 7, 1, 0.7618384401114207, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (13, 8, 1, 0.16016713091922005, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (14, 9, 1, 0.10167130919220055, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (15, 10, 1, 0.658774373259053, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (16, 6, 2, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (17, 7, 2, 0.4220055710306407, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (18, 8, 2, 0.09610027855153203, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (19, 9, 2, 0.09331476323119778, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (20, 10, 2, 0.3649025069637883, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (21, 11, 1, 0.09192200557103064, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (22, 12, 1, 0.658774373259053, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (23, 13, 1, 0.19080779944289694, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (24, 14, 1, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (25, 15, 1, 0.35515320334261835, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (26, 11, 2, 0.07381615598885793, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (27, 12, 2, 0.4317548746518106, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (28, 13, 2, 0.12674094707520892, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (29, 14, 2, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_intermediate_values VALUES (30, 15, 2, 0.2033426183844011, 'FINITE');
INSERT INTO public.trial_params VALUES (1, 1, 'lr', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (2, 1, 'beta0', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (3, 1, 'beta2', 0.99, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (4, 2, 'lr', 0.04388427765319105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (5, 2, 'beta0', 0.1917491871832182, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (6, 2, 'beta2', 0.9124764355339132, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (7, 3, 'lr', 4.3090606004303105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (8, 3, 'beta0', 0.010273241991149496, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (9, 3, 'beta2', 0.9993837461636093, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (10, 4, 'lr', 10.31677368805152, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (11, 4, 'beta0', 0.35472940174333395, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (12, 4, 'beta2', 0.7555049364408178, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (13, 5, 'lr', 0.10506820532886649, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (14, 5, 'beta0', 0.05953704903036894, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (15, 5, 'beta2', 0.997785256365974, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (16, 6, 'lr', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (17, 6, 'momentum', 0.9, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (18, 7, 'lr', 0.0043884277653191035, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (19, 7, 'momentum', 0.947848540341165, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (20, 8, 'lr', 0.430906060043031, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (21, 8, 'momentum', 0.026597445225654437, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (22, 9, 'lr', 1.0316773688051517, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (23, 9, 'momentum', 0.9718094977443241, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (24, 10, 'lr', 0.010506820532886646, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (25, 10, 'momentum', 0.8320373588738139, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (26, 11, 'lr', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (27, 11, 'beta0', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (28, 11, 'beta2', 0.99, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (29, 12, 'lr', 0.04388427765319105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (30, 12, 'beta0', 0.1917491871832182, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (31, 12, 'beta2', 0.9124764355339132, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (32, 13, 'lr', 4.3090606004303105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (33, 13, 'beta0', 0.010273241991149496, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (34, 13, 'beta2', 0.9993837461636093, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (35, 14, 'lr', 10.31677368805152, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (36, 14, 'beta0', 0.35472940174333395, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (37, 14, 'beta2', 0.7555049364408178, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (38, 15, 'lr', 0.10506820532886649, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}');
INSERT INTO public.trial_params VALUES (39, 15, 'beta0', 0.05953704903036894, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (40, 15, 'beta2', 0.997785256365974, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}');
INSERT INTO public.trial_params VALUES (41, 16, 'lr', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (42, 16, 'momentum', 0.9, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (43, 17, 'lr', 0.0043884277653191035, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (44, 17, 'momentum', 0.947848540341165, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (45, 18, 'lr', 0.430906060043031, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (46, 18, 'momentum', 0.026597445225654437, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (47, 19, 'lr', 1.0316773688051517, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (48, 19, 'momentum', 0.9718094977443241, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_params VALUES (49, 20, 'lr', 0.010506820532886646, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 10.0, "log": true}}');
INSERT INTO public.trial_params VALUES (50, 20, 'momentum', 0.8320373588738139, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_user_attributes VALUES (1, 1, 'origin', '"default"');
INSERT INTO public.trial_user_attributes VALUES (2, 2, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (3, 3, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (4, 4, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (5, 5, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (6, 6, 'origin', '"default"');
INSERT INTO public.trial_user_attributes VALUES (7, 7, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (8, 8, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (9, 9, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (10, 10, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (11, 1, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (12, 1, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (13, 1, 'test_error', '0.10306406685236769');
INSERT INTO public.trial_user_attributes VALUES (14, 2, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (15, 2, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (16, 2, 'test_error', '0.44707520891364905');
INSERT INTO public.trial_user_attributes VALUES (17, 3, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (18, 3, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (19, 3, 'test_error', '0.15041782729805014');
INSERT INTO public.trial_user_attributes VALUES (20, 4, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (21, 4, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (22, 4, 'test_error', '0.10167130919220055');
INSERT INTO public.trial_user_attributes VALUES (23, 5, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (24, 5, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (25, 5, 'test_error', '0.20473537604456826');
INSERT INTO public.trial_user_attributes VALUES (26, 6, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (27, 6, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (28, 6, 'test_error', '0.1128133704735376');
INSERT INTO public.trial_user_attributes VALUES (29, 7, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (30, 7, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (31, 7, 'test_error', '0.4540389972144847');
INSERT INTO public.trial_user_attributes VALUES (32, 8, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (33, 8, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (34, 8, 'test_error', '0.11420612813370473');
INSERT INTO public.trial_user_attributes VALUES (35, 9, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (36, 9, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (37, 9, 'test_error', '0.11002785515320335');
INSERT INTO public.trial_user_attributes VALUES (38, 10, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (39, 10, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (40, 10, 'test_error', '0.41643454038997213');
INSERT INTO public.trial_user_attributes VALUES (41, 11, 'origin', '"default"');
INSERT INTO public.trial_user_attributes VALUES (42, 12, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (43, 13, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (44, 14, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (45, 15, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (46, 16, 'origin', '"default"');
INSERT INTO public.trial_user_attributes VALUES (47, 17, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (48, 18, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (49, 19, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (50, 20, 'origin', '"design"');
INSERT INTO public.trial_user_attributes VALUES (51, 11, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (52, 11, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (53, 11, 'test_error', '0.10306406685236769');
INSERT INTO public.trial_user_attributes VALUES (54, 12, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (55, 12, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (56, 12, 'test_error', '0.44707520891364905');
INSERT INTO public.trial_user_attributes VALUES (57, 13, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (58, 13, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (59, 13, 'test_error', '0.15041782729805014');
INSERT INTO public.trial_user_attributes VALUES (60, 14, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (61, 14, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (62, 14, 'test_error', '0.10167130919220055');
INSERT INTO public.trial_user_attributes VALUES (63, 15, 'seeds', '2');
INSERT INTO public.trial_user_attributes VALUES (64, 15, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES (65, 15, 'test_error', '0.20473537604456826');
INSERT INTO public.trial_values VALUES (1, 1, 0, 0.07381615598885793, 'FINITE');
INSERT INTO public.trial_values VALUES (2, 2, 0, 0.4317548746518106, 'FINITE');
INSERT INTO public.trial_values VALUES (3, 3, 0, 0.12674094707520892, 'FINITE');
INSERT INTO public.trial_values VALUES (4, 4, 0, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_values VALUES (5, 5, 0, 0.2033426183844011, 'FINITE');
INSERT INTO public.trial_values VALUES (6, 6, 0, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_values VALUES (7, 7, 0, 0.4220055710306407, 'FINITE');
INSERT INTO public.trial_values VALUES (8, 8, 0, 0.09610027855153203, 'FINITE');
INSERT INTO public.trial_values VALUES (9, 9, 0, 0.09331476323119778, 'FINITE');
INSERT INTO public.trial_values VALUES (10, 10, 0, 0.3649025069637883, 'FINITE');
INSERT INTO public.trial_values VALUES (11, 11, 0, 0.07381615598885793, 'FINITE');
INSERT INTO public.trial_values VALUES (12, 12, 0, 0.4317548746518106, 'FINITE');
INSERT INTO public.trial_values VALUES (13, 13, 0, 0.12674094707520892, 'FINITE');
INSERT INTO public.trial_values VALUES (14, 14, 0, 0.08356545961002786, 'FINITE');
INSERT INTO public.trial_values VALUES (15, 15, 0, 0.2033426183844011, 'FINITE');
INSERT INTO public.trials VALUES (1, 0, 1, 'COMPLETE', '2026-11-26 04:21:09.914615', '2026-11-26 04:21:10.148111');
INSERT INTO public.trials VALUES (2, 1, 1, 'COMPLETE', '2026-11-26 04:21:09.914615', '2026-11-26 04:21:10.148111');
INSERT INTO public.trials VALUES (3, 2, 1, 'COMPLETE', '2026-11-26 04:21:09.914615', '2026-11-26 04:21:10.148111');
INSERT INTO public.trials VALUES (4, 3, 1, 'COMPLETE', '2026-11-26 04:21:09.914615', '2026-11-26 04:21:10.148111');
INSERT INTO public.trials VALUES (5, 4, 1, 'COMPLETE', '2026-11-26 04:21:09.914615', '2026-11-26 04:21:10.148111');
INSERT INTO public.trials VALUES (6, 0, 2, 'COMPLETE', '2026-11-26 04:21:09.925821', '2026-11-26 04:21:10.307963');
INSERT INTO public.trials VALUES (7, 1, 2, 'COMPLETE', '2026-11-26 04:21:09.925821', '2026-11-26 04:21:10.307963');
INSERT INTO public.trials VALUES (8, 2, 2, 'COMPLETE', '2026-11-26 04:21:09.925821', '2026-11-26 04:21:10.307963');
INSERT INTO public.trials VALUES (9, 3, 2, 'COMPLETE', '2026-11-26 04:21:09.925821', '2026-11-26 04:21:10.307963');
INSERT INTO public.trials VALUES (10, 4, 2, 'COMPLETE', '2026-11-26 04:21:09.925821', '2026-11-26 04:21:10.307963');
INSERT INTO public.trials VALUES (11, 0, 3, 'COMPLETE', '2026-11-26 04:21:10.449273', '2026-11-26 04:21:10.645287');
INSERT INTO public.trials VALUES (12, 1, 3, 'COMPLETE', '2026-11-26 04:21:10.449273', '2026-11-26 04:21:10.645287');
INSERT INTO public.trials VALUES (13, 2, 3, 'COMPLETE', '2026-11-26 04:21:10.449273', '2026-11-26 04:21:10.645287');
INSERT INTO public.trials VALUES (14, 3, 3, 'COMPLETE', '2026-11-26 04:21:10.449273', '2026-11-26 04:21:10.645287');
INSERT INTO public.trials VALUES (15, 4, 3, 'COMPLETE', '2026-11-26 04:21:10.449273', '2026-11-26 04:21:10.645287');
INSERT INTO public.trials VALUES (16, 0, 4, 'WAITING', NULL, NULL);
INSERT INTO public.trials VALUES (17, 1, 4, 'WAITING', NULL, NULL);
INSERT INTO public.trials VALUES (18, 2, 4, 'WAITING', NULL, NULL);
INSERT INTO public.trials VALUES (19, 3, 4, 'WAITING', NULL, NULL);
INSERT INTO public.trials VALUES (20, 4, 4, 'WAITING', NULL, NULL);
INSERT INTO public.version_info VALUES (1, 12, '5.0.0');
SELECT pg_catalog.setval('public.adai_attempts_id_seq', 4, true);
SELECT pg_catalog.setval('public.adai_environments_id_seq', 4, true);
SELECT pg_catalog.setval('public.adai_logs_id_seq', 14, true);
SELECT pg_catalog.setval('public.adai_plans_id_seq', 2, true);
SELECT pg_catalog.setval('public.adai_runs_id_seq', 40, true);
SELECT pg_catalog.setval('public.adai_studies_id_seq', 2, true);
SELECT pg_catalog.setval('public.adai_trials_id_seq', 20, true);
SELECT pg_catalog.setval('public.studies_study_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 12, true);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 30, true);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 50, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 65, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 15, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 20, true);
ALTER TABLE ONLY public.adai_alembic_version
    ADD CONSTRAINT adai_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.adai_attempts
    ADD CONSTRAINT pk_adai_attempts PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_curvature
    ADD CONSTRAINT pk_adai_curvature PRIMARY KEY (run_id, epoch);
ALTER TABLE ONLY public.adai_environments
    ADD CONSTRAINT pk_adai_environments PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_epochs
    ADD CONSTRAINT pk_adai_epochs PRIMARY KEY (run_id, epoch);
ALTER TABLE ONLY public.adai_logs
    ADD CONSTRAINT pk_adai_logs PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_plans
    ADD CONSTRAINT pk_adai_plans PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT pk_adai_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT pk_adai_studies PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT pk_adai_trials PRIMARY KEY (id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.adai_environments
    ADD CONSTRAINT uq_adai_environments_hash UNIQUE (hash);
ALTER TABLE ONLY public.adai_plans
    ADD CONSTRAINT uq_adai_plans_study_id_workload UNIQUE (study_id, workload);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT uq_adai_runs_trial_id_seed UNIQUE (trial_id, seed);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT uq_adai_studies_name UNIQUE (name);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT uq_adai_trials_optuna_trial_id UNIQUE (optuna_trial_id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT uq_adai_trials_study_id_workload_optimizer_number UNIQUE (study_id, workload, optimizer, number);
ALTER TABLE ONLY public.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
CREATE INDEX ix_adai_attempts_study_id ON public.adai_attempts USING btree (study_id);
CREATE INDEX ix_adai_logs_study_id ON public.adai_logs USING btree (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON public.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON public.trials USING btree (study_id);
ALTER TABLE ONLY public.adai_attempts
    ADD CONSTRAINT fk_adai_attempts_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.adai_curvature
    ADD CONSTRAINT fk_adai_curvature_run_id FOREIGN KEY (run_id) REFERENCES public.adai_runs(id);
ALTER TABLE ONLY public.adai_epochs
    ADD CONSTRAINT fk_adai_epochs_run_id FOREIGN KEY (run_id) REFERENCES public.adai_runs(id);
ALTER TABLE ONLY public.adai_logs
    ADD CONSTRAINT fk_adai_logs_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.adai_plans
    ADD CONSTRAINT fk_adai_plans_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT fk_adai_runs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.adai_attempts(id);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT fk_adai_runs_trial_id FOREIGN KEY (trial_id) REFERENCES public.adai_trials(id);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT fk_adai_studies_environment_id FOREIGN KEY (environment_id) REFERENCES public.adai_environments(id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT fk_adai_trials_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
